"""Random views of images: shifts, flips and crops, each a product with two small matrices."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True)
class View:
    """A random transformation of a batch: `rows @ image @ columns.T`, with new matrices for each batch.

    Matrix products are differentiable and compile everywhere, and drawn matrices can be applied again.
    """

    def draw(self, n: int, height: int, width: int, seed):
        """Draws one view for each image.

        Args:
            n: the number of images.
            height: the height of the images.
            width: the width of the images.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            `(rows, columns)`: float32 `(n, height, height)` and `(n, width, width)`, the weights of the
            source pixels for each row and column of the view.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Shift(View):
    """Random shifts with zero padding and random flips, as random crops of padded images.

    Args:
        pixels: shifts are uniform from -pixels to pixels in both directions.
        flip: whether half of the images are mirrored left to right.
    """

    pixels: int = 4
    flip: bool = True
    rolled: ClassVar[bool] = False

    def draw(self, n, height, width, seed):
        rows, columns = (_shifted(size, self._offsets(n, seed), self.rolled) for size in (height, width))
        return rows, _mirrored(columns, n, seed) if self.flip else columns

    def _offsets(self, n, seed):
        return keras.random.randint((n,), -self.pixels, self.pixels + 1, seed=seed)


@dataclasses.dataclass(frozen=True)
class Jitter(Shift):
    """One random roll and one random flip for the whole batch, as in DeepInversion.

    Args:
        pixels: rolls are uniform from -pixels to pixels in both directions.
        flip: whether half of the batches are mirrored left to right.
    """

    pixels: int = 2
    rolled: ClassVar[bool] = True

    def draw(self, n, height, width, seed):
        return tuple(ops.repeat(matrix, n, axis=0) for matrix in super().draw(1, height, width, seed))


@dataclasses.dataclass(frozen=True)
class ResizedCrop(View):
    """Random crops of random size, resized to the image's size, and random flips.

    Args:
        smallest: the smallest fraction of the area, in (0, 1].
        flip: whether half of the images are mirrored left to right.
    """

    smallest: float = 0.25
    flip: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.smallest <= 1:
            raise ValueError(f"`smallest` must be in (0, 1]. Received: smallest={self.smallest!r}.")

    def draw(self, n, height, width, seed):
        area = keras.random.uniform((n,), self.smallest, 1.0, seed=seed)
        # Aspect ratios between 3/4 and 4/3, log-uniform.
        aspect = ops.exp(keras.random.uniform((n,), np.log(0.75), np.log(4 / 3), seed=seed))
        tall = ops.minimum(ops.sqrt(area / aspect), 1.0)
        wide = ops.minimum(ops.sqrt(area * aspect), 1.0)
        rows, columns = (
            _cropped(size, share, keras.random.uniform((n,), seed=seed))
            for size, share in ((height, tall), (width, wide))
        )
        return rows, _mirrored(columns, n, seed) if self.flip else columns


def fit(input_shape: tuple[int | None, ...]) -> bool:
    """Whether views apply to inputs of this shape: `(height, width, channels)`."""
    return len(input_shape) == 3


def apply(images, drawn):
    """Applies a drawn view to images.

    Args:
        images: float32 `(batch, height, width, channels)`.
        drawn: the result of `View.draw`.

    Returns:
        Images of the same shape.
    """
    rows, columns = drawn
    return ops.einsum("nlk,nikc->nilc", columns, ops.einsum("nij,njkc->nikc", rows, images))


def _mirrored(columns, n, seed):
    """The columns, reversed for a random half of the images."""
    return ops.where(keras.random.uniform((n, 1, 1), seed=seed) < 0.5, ops.flip(columns, axis=1), columns)


def _shifted(size, offsets, rolled):
    """One-hot matrices `(n, size, size)` that shift by the offsets, with or without wrapping around."""
    source = np.arange(size)[None, :] + offsets[:, None]
    if rolled:
        source = ops.mod(source, size)
    return ops.one_hot(source, size, dtype="float32")


def _cropped(size, share, place):
    """Bilinear matrices `(n, size, size)` that stretch a part of a line over its full length."""
    length = share * size
    start = place * (size - length)
    source = start[:, None] + (np.arange(size, dtype="float32")[None] + 0.5) * share[:, None] - 0.5
    source = ops.clip(source, 0.0, size - 1.0)
    distance = ops.abs(source[:, :, None] - np.arange(size, dtype="float32"))
    return ops.relu(1.0 - distance)
