"""Absolute difference of logits, the distance of DFAD."""

import keras
from keras import ops

from tfkd.losses._base import KnowledgeLoss, as_float32_pair


def l1_logits(teacher, student):
    """Mean absolute difference of the logits.

    Reduction: mean over classes, one value per example; the mean is the published value (over batch and
    classes). No temperature factor; symmetric.

    Args:
        teacher: the teacher's logits `(..., classes)`.
        student: the student's logits, of the same shape.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> l1_logits([[1.0, 3.0]], [[0.0, 0.0]])  # [2.0]

    Reference:
        Fang et al., "Data-Free Adversarial Distillation", 2019.
    """
    teacher, student = as_float32_pair(teacher, student)
    return ops.mean(ops.abs(teacher - student), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class L1Logits(KnowledgeLoss):
    """`l1_logits` as a distiller loss.

    Args:
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Example:
        >>> tfkd.Distiller(teacher, student, L1Logits(), student_loss_weight=0.0)

    Reference:
        Fang et al., "Data-Free Adversarial Distillation", 2019.
    """

    def call(self, teacher, student):
        return l1_logits(teacher, student)
