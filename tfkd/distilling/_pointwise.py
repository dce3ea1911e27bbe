"""Trains strided 1x1 convolutions without TensorFlow's faulty gradient for them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
from keras import ops

from tfkd import taps


@contextlib.contextmanager
def unit_strides(model: keras.Model) -> Iterator[None]:
    """Replaces strided 1x1 convolutions by subsampling and stride 1, with the same results.

    On CPUs with AVX-512, TensorFlow 2.21's kernel gradient of a strided 1x1 convolution writes out of
    bounds if the number of input channels is not a multiple of 16: narrowed residual networks end in a
    segmentation fault. With stride 1 it does not.

    Args:
        model: a network that is trained inside the block; it may be a bridged tf_keras model.
    """
    changed = [layer for layer in taps.named_layers(model).values() if _is_strided_pointwise(layer)]
    for layer in changed:
        object.__setattr__(layer, "convolution_op", _Thinned(layer.strides))
    try:
        yield
    finally:
        for layer in changed:
            # Another replica's thread may have removed it already.
            vars(layer).pop("convolution_op", None)


class _Thinned:
    """A 1x1 convolution of subsampled rows and columns."""

    def __init__(self, strides: tuple[int, int]) -> None:
        self._rows, self._columns = strides

    def __call__(self, inputs, kernel) -> Any:
        thinned = inputs[:, :: self._rows, :: self._columns]
        return ops.conv(thinned, kernel, strides=1, padding="valid", data_format="channels_last")


def _is_strided_pointwise(layer):
    # Layers of Keras 3 and of tf_keras, which do not share a class.
    return (
        type(layer).__name__ == "Conv2D"
        and tuple(layer.kernel_size) == (1, 1)
        and tuple(layer.strides) != (1, 1)
        and layer.data_format == "channels_last"
        and layer.groups == 1
    )
