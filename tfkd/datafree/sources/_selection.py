"""Resampling of candidates: typical ones, of balanced classes, that the student gets wrong."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfkd.datafree.objectives._moments import Moments, is_alive
from tfkd.tasks import Task
from tfkd.tasks._task import as_class_task

# Keeps very rare classes and examples with almost no weight from dominating when they occur.
_FLOOR = 1e-2


def selection_log_weights(
    task: Task,
    teacher_logits,
    student_logits: Any = None,
    balance: float = 1.0,
    disagreement: float = 0.0,
    distances: Any = None,
    statistics_weight: float = 0.0,
):
    """Log-weights for resampling candidates.

    Args:
        task: the task.
        teacher_logits: the teacher's outputs `(candidates, ...)`.
        student_logits: the student's outputs; may be None if `disagreement` is 0.
        balance: the exponent of the inverse frequency of the teacher's predicted class.
        disagreement: the exponent of the task's divergence of the student from the teacher.
        distances: `(candidates,)`, from `bn_statistics_distance`; may be None if `statistics_weight` is 0.
        statistics_weight: the factor of that distance in a candidate's log-weight.

    Returns:
        A float32 tensor `(candidates,)`.
    """
    if statistics_weight:
        log_weights = -statistics_weight * distances
    else:
        log_weights = ops.zeros((teacher_logits.shape[0],))
    if balance:
        classes = as_class_task(task)
        groups, predicted = classes.groups, classes.group(teacher_logits)
        # Count classes as often as they will be drawn by the other weights.
        drawn = ops.softmax(log_weights)[:, None]
        frequency = ops.sum(drawn * ops.one_hot(predicted, groups, dtype="float32"), axis=0)
        log_weights -= balance * ops.log(ops.take(frequency, predicted) + _FLOOR / groups)
    if disagreement:
        divergence = task.divergence(teacher_logits, student_logits)
        log_weights += disagreement * ops.log(divergence + _FLOOR)
    return log_weights


def bn_statistics_distance(seen: Sequence[Moments]):
    """The distance of each image from the statistics stored in a teacher's batch normalization.

    Args:
        seen: the moments of the images for each call of each normalization layer.

    Returns:
        A float32 tensor `(images,)`: squared differences of an image's means and standard deviations, in
        units of the stored standard deviations, averaged over channels and layers. Real images have about
        0.1. Channels that were dead in training are left out.
    """
    distances = []
    for moments in seen:
        alive = is_alive(moments.stored_variance)
        mean, variance = moments.of_images()
        unit = ops.sqrt(ops.where(alive, moments.stored_variance, 1.0))
        shifted, spread = (mean - moments.stored_mean) / unit, ops.sqrt(variance + 1e-12) / unit - 1
        living = ops.cast(alive, "float32")
        distances.append(
            ops.sum(living * (shifted**2 + spread**2), axis=-1) / ops.maximum(ops.sum(living), 1.0)
        )
    return sum(distances) / len(distances)


def resample(log_weights, n: int, seed):
    """Draws `n` different candidates with probabilities given by `log_weights`.

    Args:
        log_weights: `(candidates,)`, at least `n` of them.
        n: the number of candidates to keep.
        seed: a `keras.random.SeedGenerator`.

    Returns:
        Their int32 indices `(n,)`: the largest of the log-weights after Gumbel noise, which is
        sampling without replacement.
    """
    uniform = keras.random.uniform(ops.shape(log_weights), 1e-7, 1.0, seed=seed)
    return ops.top_k(log_weights - ops.log(-ops.log(uniform)), n)[1]
