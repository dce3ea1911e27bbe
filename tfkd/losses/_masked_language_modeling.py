"""MLM, masked language modelling: predicting the masked tokens."""

from typing import Any

import keras
from keras import ops

from tfkd.losses._base import Batch, KnowledgeLoss, as_float32
from tfkd.losses._labelled import both, labelled


def masked_language_modeling(student, labels):
    """MLM: cross-entropy of the tokens that were masked.

    Reduction: one value per position, 0 where there is no label; a distiller takes the mean over the
    labelled positions of the whole batch. No temperature. Computed from logits in float32.

    Args:
        student: the student's logits `(..., vocabulary)`.
        labels: int `(...)`, the original token at each position, -100 where it does not count.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if there is not one label for each position.

    Example:
        >>> masked_language_modeling([[[0.0, 0.0], [9.0, 0.0]]], [[1, -100]])

    Reference:
        Devlin et al., "BERT", 2019; Sanh et al., "DistilBERT", 2019, uses weight 2, with 5 for soft targets
        and 1 for the cosine of hidden states.
    """
    student = as_float32(student, "student")
    labels, there = labelled(labels, student)
    entropies = ops.sparse_categorical_crossentropy(labels, student, from_logits=True)
    return ops.where(there, entropies, 0.0)


@keras.saving.register_keras_serializable(package="tfkd")
class MaskedLanguageModeling(KnowledgeLoss):
    """MLM: `masked_language_modeling` as a distiller loss, which works without a teacher (None).

    This is the labels' loss, weighted among the knowledge losses. Give the distiller
    `student_loss_weight=0.0`, or it counts twice.

    Args:
        **kwargs: `student_layer`, `name`.

    Example:
        >>> parts = [SoftTargets(2.0), MaskedLanguageModeling(), CosineEmbedding(theirs, ours)]
        >>> tfkd.Distiller(teacher, student, parts, [5.0, 2.0, 1.0], student_loss_weight=0.0)

    Reference:
        See `masked_language_modeling`.
    """

    uses_teacher = False
    over_classes = True

    def call(self, teacher, student, labels):
        return masked_language_modeling(student, labels)

    def counted(self, student, batch: Batch) -> Any:
        return both(batch.mask, labelled(batch.labels, student)[1])
