"""Mean squared error: the student reproduces the teacher's numbers."""

import keras
from keras import ops

from tfkd.losses._base import KnowledgeLoss, as_float32_pair


def mean_squared_error(teacher, student):
    """Mean squared difference of outputs.

    Reduction: mean over the last axis, one value per example. No temperature; symmetric.

    Args:
        teacher: the teacher's outputs `(..., outputs)`, numbers or logits.
        student: the student's, of the same shape.

    Returns:
        A float32 tensor `(...)`, at least 0.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> mean_squared_error([[1.0, 3.0]], [[0.0, 0.0]])  # [5.0]

    Reference:
        Ba, Caruana, "Do Deep Nets Really Need to be Deep?", 2014, for logits. Deviation: the mean over
        outputs instead of half the sum. Tang et al., "Distilling Task-Specific Knowledge from BERT into
        Simple Neural Networks", 2019, use the sum for a BiLSTM; their code uses the mean.
    """
    teacher, student = as_float32_pair(teacher, student)
    return ops.mean((teacher - student) ** 2, axis=-1)


@keras.saving.register_keras_serializable(package="tfkd")
class MeanSquaredError(KnowledgeLoss):
    """`mean_squared_error` as a distiller loss, for regression and for logits.

    Args:
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Example:
        >>> tfkd.Distiller(teacher, student, MeanSquaredError())

    Reference:
        See `mean_squared_error`.
    """

    def call(self, teacher, student):
        return mean_squared_error(teacher, student)
