"""KD, soft targets: the student matches the teacher's softened class probabilities."""

import keras
from keras import ops

from tfkd.losses._base import as_float32_pair, check_temperature
from tfkd.losses._labelled import LabelledLoss


def soft_targets(teacher, student, temperature: float = 1.0):
    """KD: Kullback-Leibler divergence of softened probabilities, times the squared temperature.

    Direction: KL(teacher || student). Reduction: summed over classes, one value per example; the mean is
    the published "batchmean". Factor: `temperature` squared. Computed from log-softmax in float32, so
    saturated logits keep their exact value and gradient.

    Args:
        teacher: the teacher's logits `(..., classes)`.
        student: the student's logits, of the same shape.
        temperature: divides both logits; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Example:
        >>> soft_targets([[8.0, 0.0, -2.0]], [[1.0, 2.0, 0.5]], temperature=4.0)  # [8.730...]

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """
    check_temperature(temperature)
    teacher, student = as_float32_pair(teacher, student)
    log_t = ops.log_softmax(teacher / temperature, axis=-1)
    log_s = ops.log_softmax(student / temperature, axis=-1)
    return temperature**2 * ops.sum(ops.exp(log_t) * (log_t - log_s), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class SoftTargets(LabelledLoss):
    """KD: `soft_targets` as a distiller loss.

    Args:
        temperature: divides both logits; above 0.
        only_labelled: whether to count only positions whose label is not -100, such as masked tokens;
            otherwise all positions in the mask count. DistilBERT offers both ("restrict_ce_to_mask").
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> tfkd.Distiller(teacher, student, SoftTargets(temperature=4))

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015.
    """

    over_classes = True

    def __init__(self, temperature: float = 1.0, only_labelled: bool = False, **kwargs) -> None:
        super().__init__(temperature, only_labelled, **kwargs)

    def call(self, teacher, student):
        return soft_targets(teacher, student, self.divisor)
