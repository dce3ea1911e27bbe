"""GKD: the generalized Jensen-Shannon divergence, between forward and reverse KL."""

import math

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import as_float32_pair, check_temperature
from tfkd.losses._labelled import LabelledLoss
from tfkd.losses._reverse_kl import reverse_kl
from tfkd.losses._soft_targets import soft_targets


def generalized_jsd(teacher, student, beta: float = 0.5, temperature: float = 1.0):
    """JSD: generalized Jensen-Shannon divergence of softened probabilities.

    With m = `beta` p_t + (1 - `beta`) p_s it is `beta` KL(p_t || m) + (1 - `beta`) KL(p_s || m). Divided by
    `beta` it approaches KL(p_t || p_s) as `beta` goes to 0; divided by 1 - `beta` it approaches KL(p_s ||
    p_t) as `beta` goes to 1. At 0 and 1 themselves, where it would be 0, these limits are used. Reduction:
    summed over classes, one value per position. Factor: `temperature` squared. Computed from log-softmax in
    float32.

    Args:
        teacher: the teacher's logits `(..., classes)`.
        student: the student's logits, of the same shape.
        beta: weight of the teacher in the mixture, from 0 (`soft_targets`) to 1 (`reverse_kl`).
        temperature: divides both logits; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0; for a `beta` between 0 and 1 at most ln 2 times the squared
        temperature.

    Raises:
        ValueError: if the shapes differ or a number is out of its range.

    Example:
        >>> generalized_jsd([[200.0, 0.0]], [[0.0, 200.0]])  # [0.693147...]

    Reference:
        Agarwal et al., "On-Policy Distillation of Language Models: Learning from Self-Generated Mistakes"
        (GKD), 2024; the limits and the temperature are those of TRL, whose temperature of 0.9 has no
        squared factor.
    """
    check_number("beta", beta, least=0, most=1)
    check_temperature(temperature)
    if beta == 0:
        return soft_targets(teacher, student, temperature)
    if beta == 1:
        return reverse_kl(teacher, student, temperature)
    teacher, student = as_float32_pair(teacher, student)
    log_t = ops.log_softmax(teacher / temperature, axis=-1)
    log_s = ops.log_softmax(student / temperature, axis=-1)
    log_m = ops.logsumexp(ops.stack([log_t + math.log(beta), log_s + math.log1p(-beta)]), axis=0)
    of_teacher, of_student = (ops.sum(ops.exp(x) * (x - log_m), axis=-1) for x in (log_t, log_s))
    return temperature**2 * (beta * of_teacher + (1 - beta) * of_student)


@keras.saving.register_keras_serializable(package="tfkd")
class GeneralizedJSD(LabelledLoss):
    """GKD: `generalized_jsd` as a distiller loss, on sequences from a data set or written by the student.

    Args:
        beta: weight of the teacher in the mixture: 0 for KL(teacher || student), 1 for KL(student ||
            teacher), otherwise the generalized Jensen-Shannon divergence.
        temperature: divides both logits; above 0.
        only_labelled: whether to count only positions whose label is not -100, such as those after a
            prompt; otherwise all positions in the mask count.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> loss = GeneralizedJSD(0.5, only_labelled=True)
        >>> tfkd.Distiller(teacher, student, loss, student_loss_weight=0.0)

    Reference:
        Agarwal et al., "On-Policy Distillation of Language Models" (GKD), 2024. See `generalized_jsd`.
    """

    over_classes = True

    def __init__(
        self, beta: float = 0.5, temperature: float = 1.0, only_labelled: bool = False, **kwargs
    ) -> None:
        super().__init__(temperature, only_labelled, **kwargs)
        self.beta = check_number("beta", beta, least=0, most=1)

    def call(self, teacher, student):
        return generalized_jsd(teacher, student, self.beta, self.divisor)

    def get_config(self) -> dict:
        return {**super().get_config(), "beta": self.beta}
