"""Preprocessing of a teacher's inputs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import layers

# The range of images everywhere in tfkd.
UNIT = (0.0, 1.0)
# An `input_range` to be detected.
AUTO = "auto"
RGB, BGR = ORDERS = "rgb", "bgr"


class Preparation(NamedTuple):
    """Reproduces a teacher's own preprocessing pipeline.

    Args:
        factor: multiplied with the inputs; broadcasts to them.
        offset: then added; broadcasts to the inputs.
        reverse: whether the channels, the last axis, are reversed first.
    """

    factor: np.ndarray
    offset: np.ndarray
    reverse: bool = False

    def of_arrays(self, x: np.ndarray) -> np.ndarray:
        """Preprocessed float32 inputs `(n, ...)`."""
        x = x[..., ::-1] if self.reverse else x
        return (x * self.factor + self.offset).astype("float32")

    def of_tensor(self, x: Any) -> Any:
        """The same for a symbolic tensor, without operations that would have no effect."""
        x = x[..., ::-1] if self.reverse else x
        if (self.factor == 1).all() and (self.offset == 0).all():
            return x
        plain = [part.item() if part.ndim == 0 else part for part in (self.factor, self.offset)]
        return layers.Rescaling(*plain, dtype="float32", name="teacher_scaling")(x)


def preparation(
    input_range: tuple[float, float],
    mean: float | Sequence[float] | np.ndarray,
    std: float | Sequence[float] | np.ndarray,
    shape: tuple[int, ...],
    channel_order: str = RGB,
) -> Preparation:
    """The preprocessing equivalent to the teacher's pipeline.

    Args:
        input_range: `(low, high)`, the values for 0 and 1.
        mean: then subtracted; broadcasts to `shape`.
        std: then divided by; broadcasts to `shape`.
        shape: shape of one input.
        channel_order: "rgb", or "bgr" to reverse the channels first.

    Raises:
        ValueError: if a value is invalid, or there are not three channels to reverse.
    """
    try:
        low, high = (float(value) for value in input_range)
    except (TypeError, ValueError):
        raise ValueError(
            f"`input_range` must be (low, high), two numbers, or 'auto'. Received: {input_range!r}."
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
    if channel_order not in ORDERS:
        raise ValueError(f"`channel_order` must be 'rgb' or 'bgr'. Received: {channel_order!r}.")
    if channel_order == BGR and not (len(shape) == 3 and shape[-1] == 3):
        raise ValueError(
            f"`channel_order`: 'bgr' is for images with three channels; the teacher takes {shape}. Leave "
            "it out."
        )
    return Preparation((high - low) / std, (low - mean) / std, channel_order == BGR)


def _goes_with(value, shape):
    try:
        return np.broadcast_shapes(value.shape, shape) == tuple(shape)
    except ValueError:
        return False
