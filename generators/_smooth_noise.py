"""Smooth random fields: an untrained prior that costs a few small matrix products per input."""

import keras
import numpy as np
from keras import ops

from generators._base import Generator
from generators._checks import check_int, check_range, check_shape
from generators._distributions import log_uniform


def bicubic_matrix(size: int, grid: int) -> np.ndarray:
    """Weights `(size, grid)` that interpolate `grid` samples to `size` pixels.

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


def stretched(cells, *sides: int):
    """Grids `(batch, *axes, channels)` interpolated to smooth fields with the given sizes of the axes."""
    matrices = [bicubic_matrix(side, grid) for side, grid in zip(sides, cells.shape[1:-1], strict=True)]
    # Two sides: "yi,xj,bijc->byxc".
    new, old = "yxzuvw"[: len(sides)], "ijklmn"[: len(sides)]
    terms = [*map("".join, zip(new, old, strict=True)), f"b{old}c"]
    return ops.einsum(f"{','.join(terms)}->b{new}c", *matrices, cells)


@keras.saving.register_keras_serializable(package="tfkd")
class SmoothNoise(Generator):
    """Multi-scale smooth random fields with random contrast; nothing to train.

    Gaussian grids of several sizes are interpolated bicubically over the image and mixed with random
    weights. Each image has its own offset and contrast before a sigmoid, so that some images are nearly
    binary and others soft, some mostly dark and others mostly bright. Series and other inputs are smooth
    along all axes except the last. The values of a vector have no neighbours; they are independent except
    for their contrast.

    Args:
        image_shape: `(height, width, channels)`, or the shape of other inputs: `(features,)`,
            `(time, channels)`, `(frequency, time, channels)`.
        grids: the cells along a side of each Gaussian grid, coarse to fine.
        contrast: `(low, high)`, the range of the gain before the sigmoid, drawn log-uniformly for each
            image.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Images, or other inputs, in [0, 1], float32 `(batch, *image_shape)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> SmoothNoise((28, 28, 1)).sample(4, seed=0).shape
        TensorShape([4, 28, 28, 1])
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, ...],
        grids: tuple[int, ...] = (4, 6, 8, 12),
        contrast: tuple[float, float] = (0.5, 16.0),
        name: str = "smooth_noise",
        **kwargs,
    ) -> None:
        self.grids = tuple(check_int("grids", grid) for grid in grids)
        self.contrast = check_range("contrast", contrast)
        *sides, channels = check_shape(image_shape)
        self._sizes = [grid ** len(sides) * channels for grid in self.grids]
        super().__init__(image_shape, sum(self._sizes) + len(grids) + channels + 1, name=name, **kwargs)
        self.built = True

    def call(self, latent, labels=None, training: bool | None = None):
        *sides, channels = self.image_shape
        alone = (1,) * len(sides)
        parts = ops.split(latent, np.cumsum([*self._sizes, len(self.grids), channels]).tolist(), axis=-1)
        *fields, mixture, offset, contrast = parts
        # Weights of unit length give the mixed field the same variance for every image.
        mixture = mixture / ops.sqrt(ops.sum(mixture**2, axis=-1, keepdims=True) + 1e-6)
        image = 0.0
        for i, (grid, field) in enumerate(zip(self.grids, fields, strict=True)):
            field = ops.reshape(field, (-1, *[grid] * len(sides), channels))
            image += ops.reshape(mixture[:, i], (-1, *alone, 1)) * stretched(field, *sides)
        gain = ops.reshape(log_uniform(contrast, *self.contrast), (-1, *alone, 1))
        return ops.sigmoid(gain * (image + ops.reshape(offset, (-1, *alone, channels))))

    def get_config(self) -> dict:
        return {**super().get_config(), "grids": list(self.grids), "contrast": list(self.contrast)}
