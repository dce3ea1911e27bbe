"""Convolutions and dense layers as matrix products, at selected positions of their outputs."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, *_DEPTHWISE)


def is_product(layer: Any) -> bool:
    """Whether `rows_of` supports a layer."""
    if type(layer) in _CONVOLUTIONS:
        return layer.data_format == "channels_last"
    return type(layer) is layers.Dense


def matrices_of(layer: Any, kernel: np.ndarray) -> np.ndarray:
    """A kernel as matrices `(groups, inputs, outputs)`."""
    if type(layer) is layers.Dense:
        return kernel[None]
    *window, inputs, outputs = kernel.shape
    if type(layer) in _DEPTHWISE:
        return kernel.reshape(-1, inputs, outputs).transpose(1, 0, 2)
    groups = layer.groups
    matrices = kernel.reshape(int(np.prod(window)) * inputs, groups, outputs // groups)
    return matrices.transpose(1, 0, 2)


def kernel_of(layer: Any, matrices: np.ndarray) -> np.ndarray:
    """The kernel from which `matrices_of` made matrices."""
    shape = layer.kernel.shape
    if type(layer) is layers.Dense:
        return matrices[0]
    return matrices.transpose(1, 0, 2).reshape(shape)


def outputs_at(layer: Any, outputs: Any, places: np.ndarray) -> np.ndarray:
    """A layer's outputs at selected positions, as matrices `(groups, positions, outputs)`, float32."""
    rows = tf.gather(tf.reshape(outputs, (-1, outputs.shape[-1])), places).numpy().astype("float32")
    groups = len(matrices_of(layer, layer.kernel.numpy()))
    return rows.reshape(len(rows), groups, -1).transpose(1, 0, 2)


def rows_of(layer: Any, inputs: Any, outputs_shape: tuple[int, ...], places: np.ndarray) -> np.ndarray:
    """A layer's input windows for selected output positions, `(groups, positions, inputs)`, float32.

    Their product with `matrices_of` gives the outputs without bias.

    Args:
        layer: a layer for which `is_product` is true.
        inputs: a tensor `(n, ..., channels)`.
        outputs_shape: the shape of all outputs.
        places: flat indices in the outputs without their last axis.
    """
    if type(layer) is layers.Dense:
        return tf.gather(tf.reshape(inputs, (-1, inputs.shape[-1])), places).numpy().astype("float32")[None]
    example, *corner = np.unravel_index(places, outputs_shape[:-1])
    read, before, after = [], [], []
    for axis, first in enumerate(corner):
        reach = (layer.kernel_size[axis] - 1) * layer.dilation_rate[axis]
        missing = (outputs_shape[axis + 1] - 1) * layer.strides[axis] + reach + 1 - inputs.shape[axis + 1]
        missing = 0 if layer.padding == "valid" else max(0, missing)
        before.append(missing if layer.padding == "causal" else missing // 2)
        after.append(missing - before[-1])
        window = np.arange(layer.kernel_size[axis]) * layer.dilation_rate[axis]
        read.append(first[:, None] * layer.strides[axis] + window)
    padded = tf.pad(inputs, [(0, 0), *zip(before, after, strict=True), (0, 0)])
    return _grouped(layer, _windows(padded, example, read))


def _windows(padded, example, read):
    """The window of each output position, `(positions, positions in the window, channels)`."""
    grids = [example.reshape(-1, *[1] * len(read))]
    for axis, indices in enumerate(read):
        around = [1] * len(read)
        around[axis] = -1
        grids.append(indices.reshape(len(indices), *around))
    indices = np.stack(np.broadcast_arrays(*grids), -1)
    windows = tf.gather_nd(padded, indices.astype("int32")).numpy().astype("float32")
    return windows.reshape(len(example), -1, windows.shape[-1])


def _grouped(layer, windows):
    if type(layer) in _DEPTHWISE:
        return windows.transpose(2, 0, 1)
    places, positions, channels = windows.shape
    grouped = windows.reshape(places, positions, layer.groups, channels // layer.groups)
    return grouped.transpose(2, 0, 1, 3).reshape(layer.groups, places, -1)
