"""Strided convolutions of one pixel, trained without TensorFlow's gradient of them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from tfkd import taps


@contextlib.contextmanager
def unit_strides(model: keras.Model) -> Iterator[None]:
    """Has strided 1x1 convolutions leave pixels out first, and then use stride 1: the same values.

    TensorFlow 2.21's gradient by the kernel of a strided 1x1 convolution writes where it should not, if the
    number of input channels is not a multiple of 16, on CPUs with AVX-512: thinned residual networks end in
    a segmentation fault. Of a convolution with stride 1 it does not.

    Args:
        model: a network that is trained inside the block, one of tf_keras behind a bridge included.
    """
    changed = [layer for layer in taps.named_layers(model).values() if _is_strided_pointwise(layer)]
    for layer in changed:
        object.__setattr__(layer, "convolution_op", _Thinned(layer.strides))
    try:
        yield
    finally:
        for layer in changed:
            # Another replica's thread may have been here.
            vars(layer).pop("convolution_op", None)


class _Thinned:
    """A convolution of every so many rows and columns."""

    def __init__(self, strides: tuple[int, int]) -> None:
        self._rows, self._columns = strides

    def __call__(self, inputs, kernel) -> Any:
        thinned = inputs[:, :: self._rows, :: self._columns]
        return ops.conv(thinned, kernel, strides=1, padding="valid", data_format="channels_last")


def _is_strided_pointwise(layer):
    # Layers of Keras 3 and of tf_keras, which have no class in common.
    return (
        type(layer).__name__ == "Conv2D"
        and tuple(layer.kernel_size) == (1, 1)
        and tuple(layer.strides) != (1, 1)
        and layer.data_format == "channels_last"
        and layer.groups == 1
    )
