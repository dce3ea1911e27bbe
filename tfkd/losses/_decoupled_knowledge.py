"""DKD, decoupled knowledge distillation: the target class separately from the others."""

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import as_float32_pair, check_temperature
from tfkd.losses._labels import one_hot_labels
from tfkd.losses._softened import SoftenedLoss

# Removes a class from a softmax without the NaN that minus infinity would cause.
_OUT = -1e30


def decoupled_knowledge(
    teacher, student, labels, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0
):
    """DKD: divergence for target against rest plus divergence among the rest, weighted separately.

    Direction: KL(teacher || student) for both parts. Reduction: summed over classes, one value per example;
    the mean is the published value. Factor: `temperature` squared. Computed in log space, so saturated
    logits stay finite. With two classes the second part is 0.

    Args:
        teacher: the teacher's logits `(..., classes)`.
        student: the student's logits, of the same shape.
        labels: int target classes `(...)`, or one-hot rows.
        alpha: weight of the target part, at least 0.
        beta: weight of the other classes' part, at least 0.
        temperature: divides both logits; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if shapes differ or a number is out of its range.

    Example:
        >>> decoupled_knowledge([[8.0, 0.0, -2.0]], [[1.0, 2.0, 0.5]], [0])

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation", 2022.
    """
    check_number("alpha", alpha, least=0)
    check_number("beta", beta, least=0)
    check_temperature(temperature)
    teacher, student = as_float32_pair(teacher, student)
    target = one_hot_labels(labels, teacher) > 0.5
    target_t, others_t = _parts(teacher / temperature, target)
    target_s, others_s = _parts(student / temperature, target)
    divergence = alpha * _kl(target_t, target_s) + beta * _kl(others_t, others_s)
    return temperature**2 * divergence


def _parts(scaled, target):
    """Log-probabilities of target against rest, and of the others among themselves."""
    log_p = ops.log_softmax(scaled, axis=-1)
    binary = [ops.logsumexp(ops.where(which, log_p, _OUT), axis=-1) for which in (target, ~target)]
    return ops.stack(binary, axis=-1), ops.log_softmax(ops.where(target, _OUT, scaled), axis=-1)


def _kl(log_t, log_s):
    return ops.sum(ops.exp(log_t) * (log_t - log_s), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class DecoupledKnowledge(SoftenedLoss):
    """DKD: `decoupled_knowledge` as a distiller loss; the distiller passes the labels.

    Published with a warm-up of 20 epochs (1 on ImageNet): `tfkd.callbacks.WeightSchedule(warm_up=20)`.

    Args:
        alpha: weight of the target part, at least 0.
        beta: weight of the other classes' part, at least 0; published values 0.5 to 8.
        temperature: divides both logits; above 0.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> tfkd.Distiller(teacher, student, DecoupledKnowledge(beta=2.0))

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation", 2022.
    """

    over_classes = True

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, **kwargs) -> None:
        super().__init__(temperature, **kwargs)
        self.alpha = check_number("alpha", alpha, least=0)
        self.beta = check_number("beta", beta, least=0)

    def call(self, teacher, student, labels):
        return decoupled_knowledge(teacher, student, labels, self.alpha, self.beta, self.divisor)

    def get_config(self) -> dict:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}
