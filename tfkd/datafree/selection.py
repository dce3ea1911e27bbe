"""Resampling of over-drawn candidates: balanced classes, and more of what the student gets wrong."""

import keras
from keras import ops

from tfkd.losses import soft_targets

# Keeps classes and examples with next to no weight from dominating once they do come up.
_FLOOR = 1e-2


def selection_log_weights(
    teacher_logits, student_logits=None, balance: float = 1.0, disagreement: float = 0.0
):
    """Log-weights by which candidates are resampled.

    Args:
        teacher_logits: `(candidates, classes)`.
        student_logits: the same for the student; may be None where `disagreement` is 0.
        balance: exponent on the inverse frequency of the teacher's predicted class.
        disagreement: exponent on KL(teacher || student) at temperature 1.

    Returns:
        A float32 tensor `(candidates,)`.
    """
    classes = teacher_logits.shape[-1]
    predicted = ops.argmax(teacher_logits, axis=-1)
    frequency = ops.mean(ops.one_hot(predicted, classes, dtype="float32"), axis=0)
    log_weights = -balance * ops.log(ops.take(frequency, predicted) + _FLOOR / classes)
    if disagreement:
        divergence = soft_targets(teacher_logits, student_logits)
        log_weights += disagreement * ops.log(divergence + _FLOOR)
    return log_weights


def resample(log_weights, n: int, seed):
    """Draws `n` different candidates with probabilities given by `log_weights`.

    Args:
        log_weights: `(candidates,)`, at least `n` of them.
        n: how many to keep.
        seed: a `keras.random.SeedGenerator`.

    Returns:
        Their int32 indices `(n,)`: the largest of the log-weights after Gumbel noise, which is
        sampling without replacement.
    """
    uniform = keras.random.uniform(ops.shape(log_weights), 1e-7, 1.0, seed=seed)
    return ops.top_k(log_weights - ops.log(-ops.log(uniform)), n)[1]
