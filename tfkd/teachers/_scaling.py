"""How a teacher's inputs are scaled."""

from collections.abc import Sequence

import numpy as np

# The scale of images everywhere in here.
UNIT = (0.0, 1.0)


def scaling(
    input_range: tuple[float, float],
    mean: float | Sequence[float] | np.ndarray,
    std: float | Sequence[float] | np.ndarray,
    shape: tuple[int, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """What inputs are multiplied by, and what is then added, to have them as the teacher's pipeline does.

    Args:
        input_range: `(low, high)`, what 0 and 1 become.
        mean: what is then subtracted, of a shape that goes with `shape`.
        std: what is then divided by, likewise.
        shape: of one input.

    Raises:
        ValueError: if these are not such numbers.
    """
    try:
        low, high = (float(value) for value in input_range)
    except (TypeError, ValueError):
        raise ValueError(
            f"`input_range` must be (low, high), two numbers. Received: {input_range!r}."
        ) from None
    mean, std = np.asarray(mean, "float32"), np.asarray(std, "float32")
    if not low < high:
        raise ValueError(f"`input_range` must be (low, high) with low < high. Received: {input_range!r}.")
    for name, value in (("mean", mean), ("std", std)):
        if not _goes_with(value, shape):
            raise ValueError(
                f"`{name}` must be a number, one per channel (the last axis), or an input of shape "
                f"{shape}. Received: shape {value.shape}."
            )
    if not (std > 0).all():
        raise ValueError(f"`std` must be above 0 everywhere. Received: std={std.tolist()!r}.")
    return (high - low) / std, (low - mean) / std


def _goes_with(value, shape):
    try:
        return np.broadcast_shapes(value.shape, shape) == tuple(shape)
    except ValueError:
        return False
