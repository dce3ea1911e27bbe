"""What a teacher takes: the shape of its inputs, their scale, and examples to ask it about."""

from collections.abc import Sequence

import keras
import numpy as np

from generators import probe_images
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile

_PROBES = 128
# Two axes are an image without channels if both sides are at least this long and neither much longer.
_LEAST_SIDE, _LONGEST_SIDE = 8, 1.5


def shape_of_inputs(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one input of a teacher; images (height, width) get their one channel."""
    return (*shape, 1) if _lacks_channels(shape) else tuple(shape)


def takes_images(shape: tuple[int, ...]) -> bool:
    """Whether inputs of this shape can be images, with channels or without."""
    return len(shape) == 3 or _lacks_channels(shape)


def probes(model: keras.Model | TFLiteFile | SavedModelFolder) -> np.ndarray:
    """Inputs in [0, 1] of the shape that a model takes, the same ones each time: images, else noise."""
    shape = tuple(model.input_shape[1:])
    if takes_images(shape):
        return probe_images(model, _PROBES)
    return np.random.default_rng(0).uniform(size=(_PROBES, *shape)).astype("float32")


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


def _lacks_channels(shape):
    if len(shape) != 2 or None in shape:
        return False
    return min(shape) >= _LEAST_SIDE and max(shape) <= _LONGEST_SIDE * min(shape)
