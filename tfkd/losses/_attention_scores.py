"""TinyBERT: the student's attention scores match the teacher's."""

import keras
from keras import ops

from tfkd.losses._attention import AttentionLoss, mean_over_rows, scores_pair
from tfkd.losses._base import Taps

# Scores at or below this count as masked.
_MASKED = -100.0


def attention_scores(teacher, student, mask=None):
    """TinyBERT: mean squared difference of attention scores, before the softmax.

    Scores at or below -100, which are masked ones, count as 0 in either network. Reduction: mean over
    heads, queries and keys, one value per example. No temperature; symmetric.

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
        >>> attention_scores([[[[1.0, -1e9]]]], [[[[3.0, -200.0]]]])  # [2.0]

    Reference:
        Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020. The authors' code
        also averages over padding, so its values depend on the amount of padding; here, as in the paper,
        each sequence has its own length.
    """
    teacher, student = scores_pair(teacher, student, mask, _MASKED, filling=0.0)
    squares = (teacher - student) ** 2
    if mask is None:
        return mean_over_rows(ops.mean(squares, axis=-1), None)
    keys = ops.sum(ops.cast(mask, "float32"), axis=-1)[:, None, None]
    return mean_over_rows(ops.divide_no_nan(ops.sum(squares, axis=-1), keys), mask)


@keras.saving.register_keras_serializable(package="tfkd")
class AttentionScores(AttentionLoss):
    """TinyBERT: `attention_scores` as a distiller loss, summed over pairs of layers.

    Args:
        teacher_layer: path of an attention layer of the teacher, such as those of `tfkd.taps.transformer`;
            the loss uses its scores. A list of paths for several.
        student_layer: the same number from the student, with the same number of heads.
        **kwargs: `name`.

    Raises:
        ValueError: if the numbers of student and teacher layers differ.

    Example:
        >>> theirs, ours = (tfkd.taps.transformer(model).attention for model in (teacher, student))
        >>> tfkd.Distiller(teacher, student, AttentionScores(theirs[1::2], ours))

    Reference:
        Jiao et al., "TinyBERT", 2020. See `attention_scores`.
    """

    def __init__(self, teacher_layer: Taps = None, student_layer: Taps = None, **kwargs) -> None:
        super().__init__(teacher_layer, student_layer, ("scores",), **kwargs)

    def compare(self, teacher, student, mask):
        return attention_scores(teacher, student, mask)
