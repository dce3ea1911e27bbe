"""Reverse KL, from MiniLLM: the student avoids outputs that the teacher considers unlikely."""

import keras
from keras import ops

from tfkd.losses._base import as_float32_pair, check_temperature
from tfkd.losses._labelled import LabelledLoss


def reverse_kl(teacher, student, temperature: float = 1.0):
    """Reverse KL: divergence of the student's softened probabilities from the teacher's.

    Direction: KL(student || teacher), which is mode-seeking: a student too small to match the teacher
    everywhere drops the less likely modes. Reduction: summed over classes, one value per position. Factor:
    `temperature` squared. Computed from log-softmax in float32.

    Args:
        teacher: the teacher's logits `(..., classes)`.
        student: the student's logits, of the same shape.
        temperature: divides both logits; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if the shapes differ or the temperature is not positive.

    Example:
        >>> reverse_kl([[1.0, 2.0, 0.5]], [[8.0, 0.0, -2.0]], temperature=4.0)  # [8.730...]

    Reference:
        Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", 2024: the single-step part of
        its gradient, exact over the vocabulary, on sequences that the student samples. Its long-term part,
        the policy gradient of later tokens, is left out, as in Agarwal et al., "On-Policy Distillation of
        Language Models" (GKD), 2024.
    """
    check_temperature(temperature)
    teacher, student = as_float32_pair(teacher, student)
    log_t = ops.log_softmax(teacher / temperature, axis=-1)
    log_s = ops.log_softmax(student / temperature, axis=-1)
    return temperature**2 * ops.sum(ops.exp(log_s) * (log_s - log_t), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class ReverseKL(LabelledLoss):
    """Reverse KL: `reverse_kl` as a distiller loss.

    Args:
        temperature: divides both logits; above 0.
        only_labelled: whether to count only positions whose label is not -100, such as those after a
            prompt; otherwise all positions in the mask count.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive.

    Example:
        >>> tfkd.Distiller(teacher, student, ReverseKL(only_labelled=True), student_loss_weight=0.0)

    Reference:
        Gu et al., "MiniLLM: Knowledge Distillation of Large Language Models", 2024. See `reverse_kl`.
    """

    over_classes = True

    def __init__(self, temperature: float = 1.0, only_labelled: bool = False, **kwargs) -> None:
        super().__init__(temperature, only_labelled, **kwargs)

    def call(self, teacher, student):
        return reverse_kl(teacher, student, self.divisor)
