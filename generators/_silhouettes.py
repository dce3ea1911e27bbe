"""Silhouettes: one object on a plain background, an untrained prior for pictures of objects."""

import keras
import numpy as np
from keras import ops

from generators._base import Generator
from generators._checks import check_image_shape, check_range
from generators._distributions import log_uniform, uniform
from generators._smooth_noise import stretched

# Cells along a side of the Gaussian grids that outlines and textures are interpolated from, coarse and
# fine.
_OUTLINE, _TEXTURE = (4, 7), (3, 14)
_STYLES = 19


@keras.saving.register_keras_serializable(package="tfkd")
class Silhouettes(Generator):
    """One random object on a plain background in each image; nothing to train.

    An object is the area where a smooth random field exceeds the distance from a superellipse's centre. Two
    thirds of the objects are upright and symmetric, the others asymmetric and rotated; a quarter are
    forked, with a wedge cut out from below. Each has its own proportions, sharpness of edges, and a texture
    of broad shades, grain and stripes.

    Args:
        image_shape: `(height, width, channels)`.
        size: `(small, large)`, the range of half-lengths of an object as a fraction of the image's
            half-sides, drawn log-uniformly for each side.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Images in [0, 1], float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> Silhouettes((28, 28, 1)).sample(4, seed=0).shape
        TensorShape([4, 28, 28, 1])
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        size: tuple[float, float] = (0.4, 1.1),
        name: str = "silhouettes",
        **kwargs,
    ) -> None:
        size = check_range("size", size)
        channels = check_image_shape(image_shape)[-1]
        cells = [sum(side * side for side in sides) for sides in (_OUTLINE, _TEXTURE)]
        self._sizes = [*cells, _STYLES, channels, channels]
        super().__init__(image_shape, sum(self._sizes), name=name, **kwargs)
        self.size = size
        self.built = True

    def call(self, latent, labels=None, training: bool | None = None):
        outline, texture, style, ground, ink = ops.split(
            latent, np.cumsum(self._sizes)[:-1].tolist(), axis=-1
        )
        style = [style[:, i, None, None] for i in range(_STYLES)]
        middle, shape, shade, (mirror, soft, gain) = style[:2], style[2:10], style[10:16], style[16:]
        rows, columns = (
            2 * (np.arange(side, dtype="float32") + 0.5) / side - 1 for side in self.image_shape[:2]
        )
        rows, columns = rows[:, None] - 0.08 * middle[0], columns - 0.08 * middle[1]
        mirrored = ops.cast(mirror > -0.43, "float32")
        level = self._level(outline, shape, rows, columns, mirrored)
        cover = ops.sigmoid(log_uniform(soft, 6.0, 40.0) * level)[..., None]
        ground = log_uniform(gain, 1.0, 8.0)[..., None] * ground[:, None, None, :]
        shades = self._shades(texture, shade, rows, columns, mirrored)[..., None]
        return ops.sigmoid(ground + cover * (1.5 * ink[:, None, None, :] + shades - ground))

    def _level(self, outline, shape, rows, columns, mirrored):
        """A field that is above 0 inside the objects and about -1 at half their size from the edge."""
        tall, wide, power, turn, bulge, detail, fork, wedge = shape
        angle = (1 - mirrored) * turn
        up, across = (
            ops.abs(ops.cos(angle) * rows - ops.sin(angle) * columns) / log_uniform(tall, *self.size),
            ops.abs(ops.sin(angle) * rows + ops.cos(angle) * columns) / log_uniform(wide, *self.size),
        )
        power = log_uniform(power, 1.0, 6.0)
        reach = (up**power + across**power + 1e-6) ** (1 / power)
        coarse, fine = self._fields(outline, _OUTLINE, mirrored)
        level = 1 - reach + log_uniform(bulge, 0.05, 0.8) * (coarse + 0.5 * uniform(detail) * fine)
        # The wedge starts somewhere on the middle line and widens downwards.
        wedge = ops.abs(columns) * 4 - 0.6 * uniform(wedge) * (rows + 0.6)
        return ops.where((fork > 0.67) & (rows > -0.6), ops.minimum(level, wedge), level)

    def _shades(self, texture, shade, rows, columns, mirrored):
        """The texture that is added to an object's colour."""
        broad_share, grain_share, stripe_share, way, waves, phase = map(uniform, shade)
        broad, grain = self._fields(texture, _TEXTURE, mirrored)
        way, waves = np.pi * way, np.pi * (1 + 8 * waves)
        stripes = ops.sin(waves * (ops.cos(way) * columns + ops.sin(way) * rows) + 2 * np.pi * phase)
        return broad_share * broad + 1.5 * (grain_share**3 * grain + stripe_share**3 * stripes)

    def _fields(self, cells, grids, mirrored):
        """Smooth fields over the image, from coarse to fine; symmetric if `mirrored` is 1."""
        height, width, _ = self.image_shape
        split = np.cumsum([side * side for side in grids])[:-1].tolist()
        for side, values in zip(grids, ops.split(cells, split, axis=-1), strict=True):
            grid = ops.reshape(values, (-1, side, side))
            both = (grid + ops.flip(grid, axis=2)) / np.sqrt(2.0)
            grid = mirrored * both + (1 - mirrored) * grid
            yield stretched(grid[..., None], height, width)[..., 0]

    def get_config(self) -> dict:
        return {**super().get_config(), "size": list(self.size)}
