"""Gradient-based AT, attention transfer: the loss's sensitivity to the input."""

import keras
from keras import ops

from tfkd.losses._base import KnowledgeLoss, as_float32_pair
from tfkd.losses._maps import safe_root
from tfkd.taps import INPUT_GRADIENT


def gradient_attention(teacher, student):
    """Gradient-based AT: half the Euclidean distance between the two networks' input gradients.

    Reduction: norm over all axes but the first, one value per example. No temperature; symmetric.

    Args:
        teacher: gradients `(batch, ...)` of the teacher's cross-entropy with respect to the input, per
            example.
        student: the student's, of the same shape.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> gradient_attention([[3.0, 4.0]], [[0.0, 0.0]])  # [2.5]

    Reference:
        Zagoruyko, Komodakis, "Paying More Attention to Attention", 2017, section 3.2; the authors released
        no code for it. Their variant that averages over horizontal flips is not implemented.
    """
    teacher, student = as_float32_pair(teacher, student, remedy="Both networks must see the same inputs.")
    squares = ops.sum((teacher - student) ** 2, axis=tuple(range(1, len(teacher.shape))))
    return 0.5 * safe_root(squares)


@keras.saving.register_keras_serializable(package="tfkd")
class GradientAttention(KnowledgeLoss):
    """Gradient-based AT: `gradient_attention` as a distiller loss.

    The distiller differentiates the labels' cross-entropy with respect to the input, which costs a second
    backward pass. Both networks must return logits.

    Args:
        **kwargs: `name`.

    Raises:
        ValueError: in training, if there are no labels or several inputs or outputs.

    Example:
        >>> tfkd.Distiller(teacher, student, GradientAttention())

    Reference:
        Zagoruyko, Komodakis, "Paying More Attention to Attention", 2017. See `gradient_attention`.
    """

    over_classes = True

    def __init__(self, **kwargs) -> None:
        super().__init__(**{**kwargs, "teacher_layer": INPUT_GRADIENT, "student_layer": INPUT_GRADIENT})

    def call(self, teacher, student):
        return gradient_attention(teacher, student)
