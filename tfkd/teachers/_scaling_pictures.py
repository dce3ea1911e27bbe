"""Images for detecting a network's scaling: crops of photographs, and drawings."""

import functools

import numpy as np
import tensorflow as tf

from generators import Silhouettes, Strokes
from generators._picture_files import read_pictures

# Many small images, but only a few large ones, which contain more.
_FEWEST, _MOST, _PIXELS = 16, 96, 400_000
_SEED = 0
# Sides of crops, as fractions of a photograph's shorter side.
_SMALLEST, _LARGEST = 0.25, 1.0


def pictures_for(shape: tuple[int, int, int]) -> dict[str, np.ndarray]:
    """Images by kind, for running a network under each candidate scaling.

    Args:
        shape: `(height, width, channels)`, with one or three channels.

    Returns:
        float32 arrays `(n, *shape)` in [0, 1]: "photographs", and for one channel also "drawings", bright
        on dark, since such networks are rarely trained on photographs.
    """
    made = {"photographs": _crops(shape)}
    if shape[-1] == 1:
        made["drawings"] = _drawings(shape)
    return made


def _number(shape):
    return int(np.clip(_PIXELS // (shape[0] * shape[1]), _FEWEST, _MOST))


def _crops(shape):
    rng, photographs = np.random.default_rng(_SEED), _photographs()
    crops = [_crop(photographs[index % len(photographs)], shape, rng) for index in range(_number(shape))]
    crops = np.clip(np.stack(crops), 0, 255) / 255
    return crops.mean(-1, keepdims=True) if shape[-1] == 1 else crops


def _crop(photograph, shape, rng):
    """A random crop with the shape's aspect ratio, resized to it."""
    height, width = shape[:2]
    # The largest crop with that aspect ratio.
    fitting = min(photograph.shape[0] / height, photograph.shape[1] / width)
    share = rng.uniform(_SMALLEST, _LARGEST)
    sides = [max(1, int(fitting * share * side)) for side in (height, width)]
    top, left = (
        rng.integers(whole - side + 1) for whole, side in zip(photograph.shape, sides, strict=False)
    )
    part = photograph[top : top + sides[0], left : left + sides[1]]
    return tf.image.resize(part, (height, width), antialias=True).numpy()


@functools.cache
def _photographs():
    return read_pictures()


def _drawings(shape):
    """Strokes and silhouettes, bright on black."""
    each = _number(shape) // 2
    parts = [kind(shape).sample(each, seed=_SEED) for kind in (Strokes, Silhouettes)]
    drawn = np.concatenate([np.asarray(part) for part in parts])
    dark = _ground(drawn) < 0.5
    drawn = np.where(dark, drawn, 1 - drawn)
    ground = _ground(drawn)
    return np.clip((drawn - ground) / (1 - ground), 0, 1).astype("float32")


def _ground(drawn):
    """The border value of each, `(n, 1, 1, 1)`."""
    border = np.concatenate([drawn[:, 0], drawn[:, -1], drawn[:, :, 0], drawn[:, :, -1]], axis=1)
    return np.median(border, axis=(1, 2))[:, None, None, None]
