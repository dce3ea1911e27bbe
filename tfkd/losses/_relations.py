"""Weighted sums over the examples of a batch and their pairs."""

from keras import ops

from tfkd.losses._base import as_float32
from tfkd.losses._maps import with_one_axis_from

# Added to a variance, so that a constant feature has a bounded gradient.
_EPSILON = 1e-6


def flat_pair(teacher, student):
    """Both as float32 `(batch, features)`.

    Raises:
        ValueError: if the batches differ.
    """
    flat = []
    for values, argument in ((teacher, "teacher"), (student, "student")):
        values = as_float32(values, argument)
        if len(values.shape) < 2:
            raise ValueError(
                f"`{argument}` must be features (batch, ...) of at least two axes. Received: shape "
                f"{tuple(values.shape)}."
            )
        flat.append(with_one_axis_from(values, 1))
    sizes = [values.shape[0] for values in flat]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            "`teacher` and `student` must hold the same examples. Received: batches of "
            f"{sizes[0]} and {sizes[1]}."
        )
    return flat


def example_weights(sample_weight, like):
    """float32 weights `(batch,)` of the examples: those given, or ones."""
    if sample_weight is None:
        return ops.ones_like(like[:, 0])
    return per_row(sample_weight, 1)


def per_row(sample_weight, rank: int, mask=None):
    """float32 weights of at most `rank` axes: the mean over later axes, such as tokens that count."""
    weights = ops.cast(sample_weight, "float32")
    extra = tuple(range(rank, len(weights.shape)))
    if not extra:
        return weights
    if mask is None or len(mask.shape) != len(weights.shape):
        return ops.mean(weights, axis=extra)
    mask = ops.cast(mask, "float32")
    return ops.divide_no_nan(ops.sum(weights * mask, axis=extra), ops.sum(mask, axis=extra))


def pair_mean(values, weights):
    """Mean of `(batch, batch)` values, each pair weighted by the product of its weights."""
    total = ops.square(ops.sum(weights))
    return ops.divide_no_nan(ops.einsum("ij,i,j->", values, weights, weights), total)


def example_mean(values, weights):
    """Weighted mean of `(batch,)` values."""
    return ops.divide_no_nan(ops.sum(values * weights), ops.sum(weights))


def standardized(values, weights):
    """Values `(rows, features)` standardized by their weighted mean and standard deviation."""
    shares = ops.divide_no_nan(weights, ops.sum(weights))[:, None]
    centred = values - ops.sum(shares * values, axis=0, keepdims=True)
    variance = ops.sum(shares * centred**2, axis=0, keepdims=True)
    return centred * ops.rsqrt(variance + _EPSILON)
