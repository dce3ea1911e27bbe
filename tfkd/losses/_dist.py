"""DIST, knowledge from a stronger teacher: correlation over classes and over examples."""

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import as_float32_pair, check_temperature
from tfkd.losses._maps import safe_root
from tfkd.losses._relations import example_mean
from tfkd.losses._rows import as_rows, row_weights
from tfkd.losses._softened import SoftenedLoss

_EPSILON = 1e-8


def dist(
    teacher,
    student,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
    sample_weight=None,
):
    """DIST: one minus Pearson's correlation of softened probabilities, over rows and over columns.

    Reduction: mean over rows plus mean over columns, a scalar. Factor: `temperature` squared. Symmetric.
    For a batch of one there is no correlation over columns; that part is then the constant `gamma` times
    `temperature` squared, with no gradient.

    Args:
        teacher: the teacher's logits `(..., classes)`; all axes but the last count as rows.
        student: the student's logits, of the same shape.
        beta: weight of the correlation between classes (rows), at least 0.
        gamma: weight of the correlation between examples (columns), at least 0.
        temperature: divides both logits; above 0.
        sample_weight: weights `(...)` of the rows; a row of weight w counts as w copies.

    Returns:
        A float32 scalar.

    Raises:
        ValueError: if shapes differ or a number is out of its range.

    Example:
        >>> dist([[8.0, 0.0, -2.0], [0.0, 3.0, 1.0]], [[1.0, 2.0, 0.5], [0.0, 1.0, 0.0]])

    Reference:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", 2022. The squared temperature factor
        is mmrazor's; the authors' code has no temperature.
    """
    check_number("beta", beta, least=0)
    check_number("gamma", gamma, least=0)
    check_temperature(temperature)
    teacher, student = as_float32_pair(teacher, student)
    teacher, student, weights = as_rows(teacher, student, sample_weight)
    p_t, p_s = (ops.softmax(z / temperature, axis=-1) for z in (teacher, student))
    rows = 1 - _pearson(p_t, p_s, ops.ones_like(p_t[:1]), axis=1)
    columns = 1 - _pearson(p_t, p_s, weights[:, None], axis=0)
    return temperature**2 * (beta * example_mean(rows, weights) + gamma * ops.mean(columns))


def _pearson(a, b, weights, axis):
    """Weighted correlation along an axis."""
    total = ops.sum(weights, axis=axis, keepdims=True)
    a, b = (x - ops.divide_no_nan(ops.sum(weights * x, axis=axis, keepdims=True), total) for x in (a, b))
    norms = [safe_root(ops.sum(weights * x * x, axis=axis)) for x in (a, b)]
    return ops.sum(weights * a * b, axis=axis) / (norms[0] * norms[1] + _EPSILON)


@keras.saving.register_keras_serializable(package="tfkd")
class DIST(SoftenedLoss):
    """DIST: `dist` as a distiller loss.

    Args:
        beta: weight of the correlation between classes, at least 0.
        gamma: weight of the correlation between examples, at least 0.
        temperature: divides both logits; above 0.
        **kwargs: `teacher_layer`, `student_layer`, `across_replicas`, `name`.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> tfkd.Distiller(teacher, student, DIST(temperature=4.0))

    Reference:
        Huang et al., "Knowledge Distillation from A Stronger Teacher", 2022. See `dist`.
    """

    over_classes = True
    over_batch = True

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, temperature: float = 1.0, **kwargs) -> None:
        super().__init__(temperature, **kwargs)
        self.beta = check_number("beta", beta, least=0)
        self.gamma = check_number("gamma", gamma, least=0)

    def call(self, teacher, student, mask=None, sample_weight=None):
        weights = row_weights(student, mask, sample_weight)
        return dist(teacher, student, self.beta, self.gamma, self.divisor, weights)

    def get_config(self) -> dict:
        return {**super().get_config(), "beta": self.beta, "gamma": self.gamma}
