"""An atlas: pictures at several sizes in one table of pixels, read with bilinear interpolation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import ops

from generators._picture_files import resized


class Place(NamedTuple):
    """The positions of pictures at one size in an atlas: int32 tensors of one shape."""

    start: Any
    height: Any
    width: Any


class Atlas:
    """Pictures and their pyramids: each picture also at a half, a quarter and so on of its size.

    Args:
        pictures: uint8 arrays `(height, width, 3)`.
    """

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        pyramids = [_pyramid(picture) for picture in pictures]
        self.pictures = len(pictures)
        self.sides = np.array([picture.shape[:2] for picture in pictures], "float32")
        self._levels = max(map(len, pyramids))
        start, places, pixels = 0, [], []
        for pyramid in pyramids:
            for level in pyramid:
                places.append((start, *level.shape[:2]))
                pixels.append(level.reshape(-1, 3))
                start += len(pixels[-1])
            # The smallest size replaces the missing smaller ones.
            places += [places[-1]] * (self._levels - len(pyramid))
        self._places = np.array(places, "int32")
        # Graphs share a tensor, but each would hold a copy of an array. float16 represents all of 0 to 255
        # and, unlike uint8, can be gathered on GPUs.
        with tf.init_scope():
            self._pixels = tf.constant(np.concatenate(pixels), "float16")

    def place(self, picture, stride) -> Place:
        """Selects the sizes at which pictures are read.

        Args:
            picture: int32, the indices of pictures.
            stride: float, of the same shape: the distance between points to read, in pixels of the full
                picture.

        Returns:
            Places of the pictures at the sizes whose pixels are about this far apart.
        """
        level = ops.floor(ops.log2(ops.maximum(stride, 1.0)) + 0.5)
        level = ops.minimum(ops.cast(level, "int32"), self._levels - 1)
        return Place(*ops.unstack(ops.take(self._places, picture * self._levels + level, axis=0), axis=-1))

    def read(self, place: Place, rows, columns):
        """Colours at points of pictures.

        Args:
            place: the place of the picture at each point; its shape must broadcast.
            rows: float, fractions of the picture's height; values outside [0, 1] are mirrored.
            columns: float, fractions of the picture's width; values outside [0, 1] are mirrored.

        Returns:
            float32 in [0, 255], with the points' shape and three channels.
        """
        upper, lower, down = _neighbours(rows, place.height)
        left, right, across = _neighbours(columns, place.width)
        upper, lower = (place.start + row * place.width for row in (upper, lower))
        top, bottom = (
            self._at(row + left) * (1 - across) + self._at(row + right) * across for row in (upper, lower)
        )
        return top * (1 - down) + bottom * down

    def _at(self, index):
        return ops.cast(ops.take(self._pixels, index, axis=0), "float32")


def _pyramid(picture):
    levels = [picture]
    while min(levels[-1].shape[:2]) >= 4:
        height, width = levels[-1].shape[:2]
        levels.append(resized(levels[-1], (height + 1) // 2, (width + 1) // 2))
    return levels


def _neighbours(share, side):
    """The pixels before and after a point along a side, and the point's position between them."""
    mirrored = 1 - ops.abs(ops.mod(share, 2.0) - 1)
    last = ops.cast(side, "float32") - 1
    position = ops.clip(mirrored * (last + 1) - 0.5, 0.0, last)
    before = ops.floor(position)
    first = ops.cast(before, "int32")
    return first, ops.minimum(first + 1, side - 1), (position - before)[..., None]
