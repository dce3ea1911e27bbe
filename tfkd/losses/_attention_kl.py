"""MiniLM: the student's attention distributions match the teacher's."""

import keras
from keras import ops

from tfkd.losses._attention import AttentionLoss, mean_over_rows, scores_pair
from tfkd.losses._base import Taps
from tfkd.losses._maps import LEFT_OUT


def attention_kl(teacher, student, mask=None):
    """MiniLM: Kullback-Leibler divergence of the attention of each query.

    Direction: KL(teacher || student) of the softmax over keys. Reduction: mean over heads and queries, one
    value per example. No temperature. Computed from log-softmax of the scores in float32, so that attention
    on one token alone keeps its exact value and gradient.

    Args:
        teacher: the teacher's scores `(batch, heads, tokens, tokens)`, as they enter the softmax: divided
            by the square root of the head width, -1e9 at keys that a query may not attend to.
        student: the student's, of the same shape.
        mask: `(batch, tokens)`, true where a token counts, as query and as key; None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes are invalid or differ.

    Example:
        >>> attention_kl([[[[8.0, 0.0, -2.0]]]], [[[[1.0, 2.0, 0.5]]]])  # [1.46053...]

    Reference:
        Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
        Transformers", 2020: the first term, for the last layer.
    """
    teacher, student = scores_pair(teacher, student, mask, LEFT_OUT, filling=LEFT_OUT)
    log_t, log_s = ops.log_softmax(teacher, axis=-1), ops.log_softmax(student, axis=-1)
    return mean_over_rows(ops.sum(ops.exp(log_t) * (log_t - log_s), axis=-1), mask)


@keras.saving.register_keras_serializable(package="tfkd")
class AttentionKL(AttentionLoss):
    """MiniLM: `attention_kl` as a distiller loss, summed over pairs of layers.

    Args:
        teacher_layer: path of an attention layer of the teacher, such as those of `tfkd.taps.transformer`;
            the loss uses its scores. A list of paths for several.
        student_layer: the same number from the student, with the same number of heads.
        **kwargs: `name`.

    Raises:
        ValueError: if the numbers of student and teacher layers differ.

    Example:
        >>> theirs, ours = (tfkd.taps.transformer(model).attention[-1] for model in (teacher, student))
        >>> both = [AttentionKL(theirs, ours), SelfAttentionRelations(theirs, ours)]
        >>> tfkd.Distiller(teacher, student, both)

    Reference:
        Wang et al., "MiniLM", 2020. See `attention_kl`.
    """

    def __init__(self, teacher_layer: Taps = None, student_layer: Taps = None, **kwargs) -> None:
        super().__init__(teacher_layer, student_layer, ("scores",), **kwargs)

    def compare(self, teacher, student, mask):
        return attention_kl(teacher, student, mask)
