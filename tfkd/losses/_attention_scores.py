"""TinyBERT: attention scores of the student as the teacher's are."""

import keras
from keras import ops

from tfkd.losses._attention import AttentionLoss, mean_over_rows, scores_pair
from tfkd.losses._base import Taps

# At or below it a score is taken for a masked one.
_MASKED = -100.0


def attention_scores(teacher, student, mask=None):
    """TinyBERT: mean squared difference of attention scores, before the softmax.

    Scores at or below -100, which are those that a mask left out, count as 0 in either network. Reduction:
    mean over heads, queries and keys, one value per example. No temperature; symmetric.

    Args:
        teacher: the teacher's scores `(batch, heads, tokens, tokens)`, as they enter the softmax: over the
            root of the heads' width, -1e9 at keys that a query may not see.
        student: the student's, of the same shape.
        mask: `(batch, tokens)`, which tokens count, as queries and as keys; None for all.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes are others, or differ.

    Example:
        >>> attention_scores([[[[1.0, -1e9]]]], [[[[3.0, -200.0]]]])  # [2.0]

    Reference:
        Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020. The authors' code
        also averages over padding, so that its values depend on how far a batch is padded; here, as the
        paper has it, each sequence has its own length.
    """
    teacher, student = scores_pair(teacher, student, mask, _MASKED, filling=0.0)
    squares = (teacher - student) ** 2
    if mask is None:
        return mean_over_rows(ops.mean(squares, axis=-1), None)
    keys = ops.sum(ops.cast(mask, "float32"), axis=-1)[:, None, None]
    return mean_over_rows(ops.divide_no_nan(ops.sum(squares, axis=-1), keys), mask)


@keras.saving.register_keras_serializable(package="tfkd")
class AttentionScores(AttentionLoss):
    """TinyBERT: `attention_scores` as a loss of a distiller, added up over pairs of layers.

    Args:
        teacher_layer: path of an attention layer of the teacher, as those of `tfkd.taps.transformer`; the
            loss looks at its scores. A list of paths for several.
        student_layer: as many of the student, with as many heads.
        **kwargs: `name`.

    Raises:
        ValueError: if there are not as many student as teacher layers.

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
