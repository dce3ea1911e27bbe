"""WSLD, weighted soft labels: soft targets count less where the student beats the teacher."""

import keras
from keras import ops

from tfkd.losses._base import as_float32_pair
from tfkd.losses._labels import one_hot_labels
from tfkd.losses._soft_targets import soft_targets
from tfkd.losses._softened import SoftenedLoss

_EPSILON = 1e-7


def weighted_soft_targets(teacher, student, labels, temperature: float = 2.0):
    """WSLD: soft targets weighted by how much worse the student predicts the label.

    The weight of an example is `1 - exp(-c)`, where c is the student's cross-entropy with the label divided
    by the teacher's, both without a temperature; the weight has no gradient. Direction: KL(teacher ||
    student). Reduction: summed over classes, one value per example. Factor: `temperature` squared.
    Saturated logits stay finite.

    Args:
        teacher: the teacher's logits `(..., classes)`.
        student: the student's logits, of the same shape.
        labels: int target classes `(...)`, or one-hot rows.
        temperature: divides both logits; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if shapes differ or the temperature is not positive.

    Example:
        >>> weighted_soft_targets([[2.0, 0.0]], [[0.0, 0.0]], [0], temperature=1.0)  # [0.3264...]

    Reference:
        Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff
        Perspective", 2021. The paper weights the cross-entropy with the soft labels. Here it is the
        divergence, smaller by the teacher's entropy, which does not change the gradient.
    """
    teacher, student = as_float32_pair(teacher, student)
    target = one_hot_labels(labels, teacher)
    entropy_t, entropy_s = (_cross_entropy(target, logits) for logits in (teacher, student))
    weight = 1 - ops.exp(-entropy_s / (entropy_t + _EPSILON))
    return ops.stop_gradient(weight) * soft_targets(teacher, student, temperature)


def _cross_entropy(target, logits):
    return -ops.sum(target * ops.log_softmax(logits, axis=-1), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class WeightedSoftTargets(SoftenedLoss):
    """WSLD: `weighted_soft_targets` as a distiller loss; the distiller passes the labels.

    Args:
        temperature: divides both logits; above 0.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> tfkd.Distiller(teacher, student, WeightedSoftTargets(), "published")

    Reference:
        Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff
        Perspective", 2021. See `weighted_soft_targets`.
    """

    over_classes = True
    published_weight = 2.5

    def __init__(self, temperature: float = 2.0, **kwargs) -> None:
        super().__init__(temperature, **kwargs)

    def call(self, teacher, student, labels):
        return weighted_soft_targets(teacher, student, labels, self.divisor)
