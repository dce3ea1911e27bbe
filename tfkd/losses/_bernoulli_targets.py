"""Bernoulli targets: soft targets of independent labels."""

import keras
from keras import ops

from tfkd.losses._base import as_float32_pair, check_temperature
from tfkd.losses._softened import SoftenedLoss


def bernoulli_targets(teacher, student, temperature: float = 1.0):
    """Kullback-Leibler divergence of each label's softened probability, times the squared temperature.

    Direction: KL(teacher || student). Reduction: summed over labels, one value per example. Factor:
    `temperature` squared. Computed from log-sigmoid in float32, so saturated logits keep their exact value
    and gradient.

    Args:
        teacher: the teacher's logits `(..., labels)`.
        student: the student's logits, of the same shape.
        temperature: divides both logits; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Example:
        >>> bernoulli_targets([[2.0, -1.0]], [[0.0, 0.0]])  # [0.4387...]

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, for two classes at a
        time; for several labels Yang et al., "Multi-Label Knowledge Distillation", 2023, who call it
        one-versus-all.
    """
    check_temperature(temperature)
    teacher, student = as_float32_pair(teacher, student)
    teacher, student = teacher / temperature, student / temperature
    positive = ops.sigmoid(teacher) * (ops.log_sigmoid(teacher) - ops.log_sigmoid(student))
    negative = ops.sigmoid(-teacher) * (ops.log_sigmoid(-teacher) - ops.log_sigmoid(-student))
    return temperature**2 * ops.sum(positive + negative, axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class BernoulliTargets(SoftenedLoss):
    """`bernoulli_targets` as a distiller loss: soft targets where several labels may be right.

    Args:
        temperature: divides both logits; above 0.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> tfkd.Distiller(teacher, student, BernoulliTargets(temperature=2))

    Reference:
        See `bernoulli_targets`.
    """

    def __init__(self, temperature: float = 1.0, **kwargs) -> None:
        super().__init__(temperature, **kwargs)

    def call(self, teacher, student):
        return bernoulli_targets(teacher, student, self.divisor)
