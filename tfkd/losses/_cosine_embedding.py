"""Cosine embedding, from DistilBERT: hidden states point in the same direction."""

import keras
from keras import ops

from tfkd.losses._features import FeatureLoss
from tfkd.losses._maps import l2_normalized, matching_pair


def cosine_embedding(teacher, student):
    """One minus the cosine between hidden states.

    Reduction: over the last axis, one value for each position. No temperature; symmetric.

    Args:
        teacher: the teacher's hidden states `(..., width)`.
        student: the student's, of the same width.

    Returns:
        A float32 tensor `(...)` from 0 to 2.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> cosine_embedding([[1.0, 0.0]], [[0.0, 1.0]])  # [1.0]

    Reference:
        Sanh et al., "DistilBERT", 2019. A distiller takes the mean over all tokens of the batch that count,
        as the authors' code does.
    """
    teacher, student = matching_pair(teacher, student)
    return 1 - ops.sum(l2_normalized(teacher, -1) * l2_normalized(student, -1), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class CosineEmbedding(FeatureLoss):
    """`cosine_embedding` as a distiller loss, as DistilBERT uses it on hidden states.

    Args:
        teacher_layer: tap of the teacher, or a list of taps, whose losses are added.
        student_layer: tap of the student, or a list of the same length.
        projector: see `FeatureLoss`.
        **kwargs: `name`.

    Example:
        >>> tfkd.Distiller(teacher, student, CosineEmbedding("transformer_layer_5", "transformer_layer_2"))

    Reference:
        Sanh et al., "DistilBERT", 2019.
    """

    def compare(self, teacher, student, batch):
        return cosine_embedding(teacher, student)
