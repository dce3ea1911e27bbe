"""Weights of several teachers."""

from collections.abc import Sequence

from keras import ops

from tfkd._core.checks import check_number
from tfkd.losses._base import as_float32
from tfkd.losses._labels import one_hot_labels


def as_shares(weights: Sequence[float] | None, teachers: int) -> list[float]:
    """Weights of teachers, divided by their sum.

    Args:
        weights: one for each, at least 0; None for equal ones.
        teachers: how many there are.

    Raises:
        ValueError: if the number of weights is wrong, one is negative, or all are 0.
    """
    weights = [1.0] * teachers if weights is None else list(weights)
    if len(weights) != teachers:
        raise ValueError(
            f"`weights` must have one weight for each of the {teachers} teachers. Received: {weights!r}."
        )
    for weight in weights:
        check_number("weights", weight, least=0)
    if not sum(weights):
        raise ValueError(f"`weights` must have one above 0. Received: {weights!r}.")
    return [float(weight / sum(weights)) for weight in weights]


def confidence_weights(outputs, labels=None):
    """Weights of teachers per example: higher for teachers more confident in the right class.

    Args:
        outputs: the logits `(..., classes)` of each of at least two teachers.
        labels: true classes, as ints or one-hot rows; None to use the entropy of each teacher's output.

    Returns:
        float32 `(teachers, ...)`, which sum to 1 over the teachers; none exceeds 1 / (teachers - 1).
    """
    logarithms = [ops.log_softmax(as_float32(logits, "teacher"), axis=-1) for logits in outputs]
    if labels is None:
        expected = [ops.exp(each) for each in logarithms]
    else:
        expected = [one_hot_labels(labels, each) for each in logarithms]
    pairs = zip(expected, logarithms, strict=True)
    entropies = ops.stack([-ops.sum(p * log_q, axis=-1) for p, log_q in pairs])
    return (1 - ops.softmax(entropies, axis=0)) / (len(logarithms) - 1)
