"""Smooth random fields: an untrained prior that costs a few small matrix products an image."""

import keras
import numpy as np
from keras import ops

from generators._base import Generator
from generators._checks import check_positive, check_range
from generators._distributions import log_uniform


def bicubic_matrix(size: int, grid: int) -> np.ndarray:
    """Interpolation weights `(size, grid)` that stretch `grid` samples over `size` pixels.

    Cubic convolution with a = -0.5 (Keys, 1981), half-pixel centres, edges replicated; every row
    sums to one.
    """
    position = (np.arange(size) + 0.5) * grid / size - 0.5
    matrix = np.zeros((size, grid), "float32")
    for tap in range(-1, 3):
        node = np.floor(position) + tap
        t = np.abs(position - node)
        near = 1.5 * t**3 - 2.5 * t**2 + 1
        far = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
        weight = np.where(t <= 1, near, np.where(t < 2, far, 0.0))
        np.add.at(matrix, (np.arange(size), np.clip(node, 0, grid - 1).astype(int)), weight)
    return matrix


def stretched(cells, height: int, width: int):
    """Grids `(batch, rows, columns, channels)` as smooth fields over images of those sides."""
    rows, columns = bicubic_matrix(height, cells.shape[1]), bicubic_matrix(width, cells.shape[2])
    return ops.einsum("yi,xj,bijc->byxc", rows, columns, cells)


@keras.saving.register_keras_serializable(package="tfkd")
class SmoothNoise(Generator):
    """Multi-scale smooth random fields with random contrast; nothing to train.

    Gaussian grids of several sizes are stretched over the image by bicubic interpolation and mixed
    with random weights; each image has its own offset and contrast before a sigmoid, so that some
    come out nearly binary and some soft, some mostly dark and some mostly bright.

    Args:
        image_shape: `(height, width, channels)`.
        grids: cells along a side of each Gaussian grid, coarse to fine.
        contrast: `(low, high)` gain before the sigmoid, drawn log-uniformly for each image.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Images in [0, 1], float32 `(batch, height, width, channels)`.

    Example:
        >>> SmoothNoise((28, 28, 1)).sample(4, seed=0).shape
        TensorShape([4, 28, 28, 1])
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        grids: tuple[int, ...] = (4, 6, 8, 12),
        contrast: tuple[float, float] = (0.5, 16.0),
        name: str = "smooth_noise",
        **kwargs,
    ) -> None:
        for grid in grids:
            check_positive("grids", grid)
        contrast = check_range("contrast", contrast)
        channels = image_shape[-1]
        cells = sum(grid * grid for grid in grids) * channels
        super().__init__(image_shape, cells + len(grids) + channels + 1, name=name, **kwargs)
        self.grids = tuple(grids)
        self.contrast = contrast
        self.built = True

    def call(self, latent, training=None):
        height, width, channels = self.image_shape
        sizes = [grid * grid * channels for grid in self.grids]
        parts = ops.split(latent, np.cumsum([*sizes, len(sizes), channels]).tolist(), axis=-1)
        *fields, mixture, offset, contrast = parts
        # Weights of unit length keep the mixed field's spread the same for every image.
        mixture = mixture / ops.sqrt(ops.sum(mixture**2, axis=-1, keepdims=True) + 1e-6)
        image = 0.0
        for i, (grid, field) in enumerate(zip(self.grids, fields, strict=True)):
            field = ops.reshape(field, (-1, grid, grid, channels))
            image += mixture[:, i, None, None, None] * stretched(field, height, width)
        gain = log_uniform(contrast, *self.contrast)[:, :, None, None]
        return ops.sigmoid(gain * (image + offset[:, None, None, :]))

    def get_config(self):
        return {**super().get_config(), "grids": list(self.grids), "contrast": list(self.contrast)}
