"""Dead leaves: overlapping random shapes, an untrained prior with edges and textures."""

import keras
import numpy as np
from keras import ops

from generators._base import Generator
from generators._checks import check_image_shape, check_int, check_range
from generators._distributions import uniform

# Latent values of one leaf: centre (2), log radius, aspect, angle, squareness, fill, stripes (angle,
# frequency, phase, strength), and one value for the colour of each channel.
_LEAF_VALUES = 11


@keras.saving.register_keras_serializable(package="tfkd")
class DeadLeaves(Generator):
    """Overlapping random shapes with random textures; nothing to train.

    Leaves are painted back to front. Each is an ellipse, a rounded box or something in between, filled or
    only outlined, with one colour modulated by a random grating, and with edges one pixel soft.

    Args:
        image_shape: `(height, width, channels)`.
        leaves: the number of shapes in an image.
        radius: `(small, large)`, the range of half-lengths as a fraction of the image's longer side. They
            are drawn log-uniformly, which gives the scale-free sizes of natural images.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Images in [0, 1], float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> DeadLeaves((32, 32, 3)).sample(4, seed=0).shape
        TensorShape([4, 32, 32, 3])

    Reference:
        Lee, Mumford, Huang, "Occlusion Models for Natural Images", IJCV 2001. Gratings, outlines
        and shapes other than discs are additions.
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        leaves: int = 12,
        radius: tuple[float, float] = (0.06, 0.5),
        name: str = "dead_leaves",
        **kwargs,
    ) -> None:
        self.leaves = check_int("leaves", leaves)
        self.radius = check_range("radius", radius)
        channels = check_image_shape(image_shape)[-1]
        super().__init__(image_shape, leaves * (_LEAF_VALUES + channels) + channels, name=name, **kwargs)
        self.built = True

    def call(self, latent, labels=None, training: bool | None = None):
        height, width, channels = self.image_shape
        side = max(height, width)
        background, leaves = ops.split(uniform(latent), [channels], axis=-1)
        leaves = ops.reshape(leaves, (-1, self.leaves, _LEAF_VALUES + channels))
        rows = (np.arange(height, dtype="float32")[:, None] + 0.5) / side
        columns = (np.arange(width, dtype="float32")[None, :] + 0.5) / side
        image = ops.broadcast_to(
            background[:, None, None, :], (ops.shape(latent)[0], height, width, channels)
        )
        for i in range(self.leaves):
            image = self._paint(image, leaves[:, i], rows, columns, side)
        return image

    def _paint(self, image, leaf, rows, columns, side):
        height, width, _ = self.image_shape
        values = [leaf[:, k, None, None] for k in range(_LEAF_VALUES)]
        row, column, size, aspect, angle, square, fill, grating, frequency, phase, strength = values
        low, high = np.log(self.radius)
        long = ops.exp(low + (high - low) * size)
        short = long * (0.15 + 0.85 * aspect)
        cos, sin = ops.cos(np.pi * angle), ops.sin(np.pi * angle)
        dy, dx = rows - row * (height / side), columns - column * (width / side)
        u, v = ops.abs(cos * dx + sin * dy) / long, ops.abs(cos * dy - sin * dx) / short
        # Blends the distances of an ellipse and of a box; both are 1 on the edge.
        reach = (1 - square) * ops.sqrt(u * u + v * v + 1e-12) + square * ops.maximum(u, v)
        edge = side * short
        inside = ops.sigmoid(4 * edge * (1 - reach))
        hole = ops.sigmoid(4 * edge * (0.65 - reach))
        cover = inside * (1 - hole * ops.cast(fill < 0.25, inside.dtype))
        waves = 2 * np.pi * (1 + 7 * frequency)
        stripe = ops.sin(
            waves * (ops.cos(np.pi * grating) * dx + ops.sin(np.pi * grating) * dy) + 2 * np.pi * phase
        )
        shade = leaf[:, None, None, _LEAF_VALUES:] + (0.5 * strength**3 * stripe)[..., None]
        return image + cover[..., None] * (ops.clip(shade, 0.0, 1.0) - image)

    def get_config(self) -> dict:
        return {**super().get_config(), "leaves": self.leaves, "radius": list(self.radius)}
