"""LSKD, logit standardization: soft targets of z-scores, so that the student need not copy the scale."""

import keras
from keras import ops

from tfkd.losses._base import as_float32_pair
from tfkd.losses._maps import safe_root
from tfkd.losses._soft_targets import SoftTargets, soft_targets

_EPSILON = 1e-7


def logit_standardization(teacher, student, temperature: float = 2.0):
    """LSKD: `soft_targets` of logits standardized to z-scores over the classes.

    Direction: KL(teacher || student). Reduction: summed over classes, one value per example. Factor:
    `temperature` squared. The standard deviation divides by classes - 1; 1e-7 is added to it.

    Args:
        teacher: the teacher's logits `(..., classes)`.
        student: the student's logits, of the same shape.
        temperature: divides the z-scores; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Example:
        >>> logit_standardization([[8.0, 0.0, -2.0]], [[4.0, 0.0, -1.0]])  # [0.0], for same z-scores

    Reference:
        Sun et al., "Logit Standardization in Knowledge Distillation", 2024.
    """
    teacher, student = as_float32_pair(teacher, student)
    return soft_targets(_z_score(teacher), _z_score(student), temperature)


def _z_score(logits):
    centred = logits - ops.mean(logits, axis=-1, keepdims=True)
    variance = ops.sum(centred**2, axis=-1, keepdims=True) / max(logits.shape[-1] - 1, 1)
    return centred / (safe_root(variance) + _EPSILON)


@keras.saving.register_keras_serializable(package="tfkd")
class LogitStandardization(SoftTargets):
    """LSKD: `logit_standardization` as a distiller loss; published with weight 0.1 on the labels' loss.

    Args:
        temperature: divides the z-scores; above 0.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> tfkd.Distiller(teacher, student, LogitStandardization(), [10.0], student_loss_weight=0.1)

    Reference:
        Sun et al., "Logit Standardization in Knowledge Distillation", 2024.
    """

    published_weight = 90.0

    def __init__(self, temperature: float = 2.0, **kwargs) -> None:
        super().__init__(temperature, **kwargs)

    def call(self, teacher, student):
        return logit_standardization(teacher, student, self.divisor)
