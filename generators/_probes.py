"""Reproducible synthetic inputs for any model."""

import functools
import math

import keras
import numpy as np

from generators._dead_leaves import DeadLeaves
from generators._smooth_noise import SmoothNoise

# Fewer images are made if they are large, according to their pixels.
_PROBE_IMAGES, _FEWEST, _PIXELS = 128, 32, 128 * 96 * 96
_MADE_AT_ONCE = 16
# Inputs of at most this many numbers are cached, since every network of this shape uses them.
_KEPT, _KEPT_NUMBERS = 16, 2**21


def probe_images(
    model: keras.Model, n: int | None = None, seed: int = 0, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Synthetic inputs for a model: smooth noise or, for images, half smooth noise and half dead leaves.

    Args:
        model: a model with one input of known shape.
        n: the number of inputs, at least 2; None for 128, and down to 32 for more than 96x96 pixels.
        seed: the seed; the same seed gives the same inputs.
        shape: the shape in which the inputs are made, such as `(height, width, channels)`; None for
            `image_shape` of the model's input shape.

    Returns:
        float32 `(n, ...)` in [0, 1], with the model's input shape.

    Raises:
        ValueError: for a model with several inputs, or with an input of unknown shape.
    """
    taken = model.input_shape[1:]
    if not taken or not all(isinstance(side, int) for side in taken):
        raise ValueError(
            f"`model`: {model.name!r} must take one input of known shape. Received: a model with "
            f"input_shape={model.input_shape}. Build it with a `keras.Input` that fixes all sizes."
        )
    filled = tuple(image_shape(taken) if shape is None else shape)
    n = _enough(filled) if n is None else n
    made = _kept(filled, n, seed) if n * math.prod(filled) <= _KEPT_NUMBERS else _inputs(filled, n, seed)
    return made.reshape(-1, *taken).copy()


def _enough(shape):
    pixels = math.prod(shape[:2]) if len(shape) == 3 else 1
    return max(_FEWEST, min(_PROBE_IMAGES, _PIXELS // pixels))


def _inputs(shape, n, seed):
    if len(shape) != 3:
        return np.concatenate(_made(SmoothNoise(shape), n, seed))
    noise, leaves = _made(SmoothNoise(shape), n // 2, seed), _made(DeadLeaves(shape), n - n // 2, seed)
    return np.concatenate([*noise, *leaves])


_kept = functools.lru_cache(_KEPT)(_inputs)


def _made(generator, n, seed):
    """Inputs in parts, since a generator needs several times the memory of its output."""
    latents = generator.draw_latent(n, seed)
    starts = range(0, n, _MADE_AT_ONCE)
    return [np.asarray(generator(latents[start : start + _MADE_AT_ONCE])) for start in starts]


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of inputs, with a channel axis for images that a model takes without one.

    Two axes are height and width if neither is more than twice the other, else time and channels.

    Args:
        shape: the shape of one input of a model.

    Returns:
        `(height, width, 1)` for `(height, width)`; any other shape unchanged.
    """
    image = len(shape) == 2 and max(shape) <= 2 * min(shape)
    return (*shape, 1) if image else tuple(shape)
