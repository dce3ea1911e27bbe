"""Tf-KD, teacher-free distillation: a virtual teacher with a fixed probability of the label."""

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import as_float32, check_temperature
from tfkd.losses._labels import one_hot_labels
from tfkd.losses._softened import SoftenedLoss


def teacher_free(student, labels, correct: float = 0.99, temperature: float = 20.0):
    """Tf-KD: divergence of the student's probabilities from a virtual teacher's.

    The virtual teacher gives the label the probability `correct` and the others equal shares; these
    probabilities are softened by another softmax at `temperature`; the student's are not. Direction:
    KL(teacher || student). Reduction: mean over classes ("elem"), one value per example; published weights
    of 1 to 100 belong to that reduction. No temperature factor.

    Args:
        student: the student's logits `(..., classes)`.
        labels: int target classes `(...)`, or one-hot rows.
        correct: probability of the label, above 0 and below 1.
        temperature: divides the virtual probabilities; above 0.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if shapes cannot match or a number is out of its range.

    Example:
        >>> teacher_free([[2.0, 0.0, 0.0]], [0])

    Reference:
        Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization", 2020
        (Tf-KD_reg).
    """
    check_number("correct", correct, above=0, below=1)
    check_temperature(temperature)
    student = as_float32(student, "student")
    target = one_hot_labels(labels, student)
    classes = student.shape[-1]
    probabilities = target * correct + (1 - target) * (1 - correct) / max(classes - 1, 1)
    log_t = ops.log_softmax(probabilities / temperature, axis=-1)
    log_s = ops.log_softmax(student, axis=-1)
    return ops.mean(ops.exp(log_t) * (log_t - log_s), axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class TeacherFree(SoftenedLoss):
    """Tf-KD: `teacher_free` as a distiller loss, which works without a teacher (None).

    Args:
        correct: probability the virtual teacher gives the label, above 0 and below 1.
        temperature: divides the virtual probabilities; above 0.
        **kwargs: `student_layer`, `name`.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> tfkd.Distiller(None, student, TeacherFree(), [100.0], student_loss_weight=0.9)

    Reference:
        Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing Regularization", 2020.
    """

    over_classes = True

    # A share of 0.1 times the multiplier 100, against 0.9 for the labels.
    published_weight = 100 / 9
    uses_teacher = False

    def __init__(self, correct: float = 0.99, temperature: float = 20.0, **kwargs) -> None:
        super().__init__(temperature, **kwargs)
        self.correct = check_number("correct", correct, above=0, below=1)

    def call(self, teacher, student, labels):
        return teacher_free(student, labels, self.correct, self.divisor)

    def get_config(self) -> dict:
        return {**super().get_config(), "correct": self.correct}
