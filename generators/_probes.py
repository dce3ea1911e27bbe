"""Synthetic inputs that any model can be asked about, the same ones each time."""

import keras
import numpy as np

from generators._dead_leaves import DeadLeaves
from generators._smooth_noise import SmoothNoise

_PROBE_IMAGES = 128
_MADE_AT_ONCE = 16


def probe_images(
    model: keras.Model, n: int = _PROBE_IMAGES, seed: int = 0, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Synthetic inputs for a model: smooth noise, and as many dead leaves where the inputs are images.

    Args:
        model: a model of one input, of known shape.
        n: how many inputs, at least 2.
        seed: the same inputs come for the same seed.
        shape: what they are made as, such as `(height, width, channels)`; None for `image_shape` of what
            the model takes.

    Returns:
        float32 `(n, *shape)` in [0, 1], of the shape that the model takes.

    Raises:
        ValueError: for a model of several inputs, or of inputs of unknown shape.
    """
    taken = model.input_shape[1:]
    if not taken or not all(isinstance(side, int) for side in taken):
        raise ValueError(
            f"`model`: {model.name!r} must take one input of known shape. Received: a model with "
            f"input_shape={model.input_shape}. Build it with a `keras.Input` that says all sides."
        )
    filled = image_shape(taken) if shape is None else shape
    if len(filled) == 3:
        parts = [*_made(SmoothNoise(filled), n // 2, seed), *_made(DeadLeaves(filled), n - n // 2, seed)]
    else:
        parts = _made(SmoothNoise(filled), n, seed)
    return np.concatenate(parts).reshape(-1, *taken)


def _made(generator, n, seed):
    """Inputs in parts, since a generator takes several times the memory of what it makes."""
    latents = generator.draw_latent(n, seed)
    starts = range(0, n, _MADE_AT_ONCE)
    return [np.asarray(generator(latents[start : start + _MADE_AT_ONCE])) for start in starts]


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of inputs, with the channels of images that a model takes without.

    Two axes are height and width if neither is more than twice the other, else time and channels.

    Args:
        shape: of one input, as a model takes it.

    Returns:
        `(height, width, 1)` for `(height, width)`; any other shape as it is.
    """
    image = len(shape) == 2 and max(shape) <= 2 * min(shape)
    return (*shape, 1) if image else tuple(shape)
