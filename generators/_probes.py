"""Synthetic images that any image model can be asked about, the same ones each time."""

import keras
import numpy as np

from generators._dead_leaves import DeadLeaves
from generators._smooth_noise import SmoothNoise

_PROBE_IMAGES = 128


def probe_images(model: keras.Model, n: int = _PROBE_IMAGES, seed: int = 0) -> np.ndarray:
    """Synthetic images for a model, half smooth noise and half dead leaves.

    Args:
        model: a model that takes images of one known size.
        n: how many images, at least 2.
        seed: the same images come for the same seed.

    Returns:
        float32 `(n, height, width, channels)` in [0, 1]; without channels if the model knows none.
    """
    shape = tuple(model.input_shape[1:])
    parts = (
        SmoothNoise(image_shape(shape)).sample(n // 2, seed=seed),
        DeadLeaves(image_shape(shape)).sample(n - n // 2, seed=seed),
    )
    return np.concatenate([np.asarray(part) for part in parts]).reshape(-1, *shape)


def image_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Height, width and channels of images that a model takes as `shape`, maybe without channels."""
    return (*shape, 1) if len(shape) == 2 else tuple(shape)
