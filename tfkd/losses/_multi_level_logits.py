"""MLLD, multi-level logits: examples, relations in the batch, relations of classes."""

from collections.abc import Sequence

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import KnowledgeLoss, as_float32_pair, check_temperature
from tfkd.losses._relations import example_mean
from tfkd.losses._rows import as_rows, row_weights
from tfkd.losses._soft_targets import soft_targets

_TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)


def multi_level_logits(
    teacher,
    student,
    temperatures: Sequence[float] = _TEMPERATURES,
    instance: float = 1.0,
    batch: float = 1.0,
    classes: float = 1.0,
    sample_weight=None,
):
    """MLLD: soft targets, Gram matrices of examples and Gram matrices of classes, at several temperatures.

    For each temperature and its probabilities p `(batch, classes)`: the mean of `soft_targets`, the squared
    difference of p pᵀ divided by the batch size, and the squared difference of pᵀ p divided by the number
    of classes. The first has direction KL(teacher || student) and the squared temperature factor; the
    others have neither.
    Reduction: summed over temperatures and levels, a scalar.

    Args:
        teacher: the teacher's logits `(..., classes)`; all axes but the last count as rows.
        student: the student's logits, of the same shape.
        temperatures: divide both logits; each above 0.
        instance: weight of the soft targets of single examples, at least 0.
        batch: weight of the relations between examples, at least 0.
        classes: weight of the relations between classes, at least 0.
        sample_weight: weights `(...)` of the rows; a row of weight w counts as w copies.

    Returns:
        A float32 scalar, at least 0.

    Raises:
        ValueError: if shapes differ, there is no temperature, or a number is out of its range.

    Example:
        >>> multi_level_logits([[8.0, 0.0], [0.0, 3.0]], [[1.0, 2.0], [0.0, 1.0]])

    Reference:
        Jin, Wang, Lin, "Multi-Level Logit Distillation", 2023. The authors' code adds a strongly augmented
        view and masks by the teacher's confidence; here the views are those in the batch, and
        `sample_weight` can exclude examples.
    """
    _check(temperatures, instance, batch, classes)
    teacher, student = as_float32_pair(teacher, student)
    teacher, student, weights = as_rows(teacher, student, sample_weight)
    total = 0.0
    for temperature in temperatures:
        p_t, p_s = (ops.softmax(z / temperature, axis=-1) for z in (teacher, student))
        total += instance * example_mean(soft_targets(teacher, student, temperature), weights)
        total += batch * _of_examples(p_t, p_s, weights) + classes * _of_classes(p_t, p_s, weights)
    return total


def _of_examples(p_t, p_s, weights):
    squares = (ops.matmul(p_t, ops.transpose(p_t)) - ops.matmul(p_s, ops.transpose(p_s))) ** 2
    return ops.divide_no_nan(ops.einsum("ij,i,j->", squares, weights, weights), ops.sum(weights))


def _of_classes(p_t, p_s, weights):
    """The squared difference of two matrices `(classes, classes)`, by the smaller products."""
    classes, examples = p_t.shape[-1], p_t.shape[0]
    if examples is not None and examples >= classes:
        gram_t, gram_s = (ops.matmul(ops.transpose(p * weights[:, None]), p) for p in (p_t, p_s))
        return ops.sum((gram_t - gram_s) ** 2) / classes
    # With d = t - s and m = t + s the difference is the symmetric part of d'm, whose square needs
    # matrices (batch, batch) alone and loses no digits where both are nearly the same.
    root = ops.sqrt(weights)[:, None]
    d, m = (p_t - p_s) * root, (p_t + p_s) * root
    cross = ops.matmul(d, ops.transpose(m))
    squares = ops.matmul(d, ops.transpose(d)) * ops.matmul(m, ops.transpose(m))
    return 0.5 * ops.sum(squares + cross * ops.transpose(cross)) / classes


def _check(temperatures, instance, batch, classes):
    if not temperatures:
        raise ValueError("`temperatures` must hold at least one number above 0. Received: none.")
    for temperature in temperatures:
        check_temperature(temperature, "temperatures")
    for name, weight in {"instance": instance, "batch": batch, "classes": classes}.items():
        check_number(name, weight, least=0)


@keras.saving.register_keras_serializable(package="tfkd")
class MultiLevelLogits(KnowledgeLoss):
    """MLLD: `multi_level_logits` as a distiller loss; published with weight 9 against 1 for the labels.

    Args:
        temperatures: divide both logits; each above 0.
        instance: weight of the soft targets of single examples, at least 0.
        batch: weight of the relations between examples, at least 0.
        classes: weight of the relations between classes, at least 0.
        **kwargs: `teacher_layer`, `student_layer`, `across_replicas`, `name`.

    Raises:
        ValueError: if there is no temperature, or a number is out of its range.

    Example:
        >>> tfkd.Distiller(teacher, student, MultiLevelLogits(), student_loss_weight=0.1)

    Reference:
        Jin, Wang, Lin, "Multi-Level Logit Distillation", 2023. See `multi_level_logits` for the deviations.
    """

    over_classes = True
    over_batch = True

    published_weight = 9.0

    def __init__(
        self,
        temperatures: Sequence[float] = _TEMPERATURES,
        instance: float = 1.0,
        batch: float = 1.0,
        classes: float = 1.0,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        _check(temperatures, instance, batch, classes)
        self.temperatures = [float(temperature) for temperature in temperatures]
        self.levels = {"instance": instance, "batch": batch, "classes": classes}

    def call(self, teacher, student, mask=None, sample_weight=None):
        weights = row_weights(student, mask, sample_weight)
        return multi_level_logits(teacher, student, self.temperatures, **self.levels, sample_weight=weights)

    def get_config(self) -> dict:
        return {**super().get_config(), "temperatures": list(self.temperatures), **self.levels}
