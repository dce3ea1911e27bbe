"""Logits of any rank as rows of classes, each with a weight."""

from keras import ops

from tfkd.losses._relations import example_weights


def as_rows(teacher, student, weights=None):
    """Both as `(rows, classes)`, and the row weights, ones if none are given."""
    classes = student.shape[-1]
    teacher, student = (ops.reshape(values, (-1, classes)) for values in (teacher, student))
    weights = None if weights is None else ops.reshape(weights, (-1,))
    return teacher, student, example_weights(weights, student)


def row_weights(logits, mask, sample_weight):
    """Weights `(...)` of rows from a mask of positions and weights of examples; None for ones."""
    weights = None if sample_weight is None else ops.cast(sample_weight, "float32")
    if len(logits.shape) == 2:
        return weights
    ones = ops.ones_like(logits[..., 0], dtype="float32")
    if weights is not None:
        weights = ops.reshape(weights, ops.shape(weights) + (1,) * (len(ones.shape) - len(weights.shape)))
        ones = ones * weights
    return ones if mask is None else ones * ops.cast(mask, "float32")
