"""What is done to a teacher's inputs before it sees them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import layers

# The scale of images everywhere in here.
UNIT = (0.0, 1.0)
# An `input_range` that is to be found out.
AUTO = "auto"
RGB, BGR = ORDERS = "rgb", "bgr"


class Preparation(NamedTuple):
    """How inputs become what a teacher's own pipeline makes of them.

    Args:
        factor: what they are multiplied by, of a shape that goes with inputs.
        offset: what is then added, likewise.
        reverse: whether the channels, the last axis, are turned round before.
    """

    factor: np.ndarray
    offset: np.ndarray
    reverse: bool = False

    def of_arrays(self, x: np.ndarray) -> np.ndarray:
        """Inputs `(n, ...)` as the teacher takes them, float32."""
        x = x[..., ::-1] if self.reverse else x
        return (x * self.factor + self.offset).astype("float32")

    def of_tensor(self, x: Any) -> Any:
        """The same of a symbolic tensor, without operations that would change nothing."""
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
    """What has to be done to inputs to have them as the teacher's pipeline does.

    Args:
        input_range: `(low, high)`, what 0 and 1 become.
        mean: what is then subtracted, of a shape that goes with `shape`.
        std: what is then divided by, likewise.
        shape: of one input.
        channel_order: "rgb", or "bgr" where channels are turned round first.

    Raises:
        ValueError: if these are not such numbers, or there are not three channels to be turned round.
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
            f"`channel_order`: 'bgr' is for pictures of three channels; the teacher takes {shape}. Leave "
            "it out."
        )
    return Preparation((high - low) / std, (low - mean) / std, channel_order == BGR)


def _goes_with(value, shape):
    try:
        return np.broadcast_shapes(value.shape, shape) == tuple(shape)
    except ValueError:
        return False
