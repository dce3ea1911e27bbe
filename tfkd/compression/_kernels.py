"""The kernels of layers, and the low-bit grids on which files store them."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

# The axes of a kernel that share a scale; the others are its output channels.
_SHARED_AXES: dict[type, dict[str, tuple[int, ...]]] = {
    layers.Dense: {"kernel": (0,)},
    layers.Conv1D: {"kernel": (0, 1)},
    layers.Conv2D: {"kernel": (0, 1, 2)},
    layers.DepthwiseConv1D: {"kernel": (0,)},
    layers.DepthwiseConv2D: {"kernel": (0, 1)},
    layers.SeparableConv1D: {"depthwise_kernel": (0,), "pointwise_kernel": (0, 1)},
    layers.SeparableConv2D: {"depthwise_kernel": (0, 1), "pointwise_kernel": (0, 1, 2)},
    layers.Conv1DTranspose: {"kernel": (0, 2)},
    layers.Conv2DTranspose: {"kernel": (0, 1, 3)},
}
KINDS = tuple(_SHARED_AXES)
# Layers whose kernels always have 8 bits in files.
_OF_8_BITS = (
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
)


def kernels_of(layer: keras.Layer) -> list[keras.Variable]:
    """The kernels of a layer that files round; none for adapted layers, such as those with LoRA."""
    kernels = [getattr(layer, name) for name in _SHARED_AXES.get(type(layer), {})]
    return kernels if all(isinstance(kernel, keras.Variable) for kernel in kernels) else []


def bias_of(layer: keras.Layer) -> keras.Variable | None:
    """The bias or beta that shifts a layer's channels along the last axis; None if it has none."""
    if type(layer) in _SHARED_AXES and getattr(layer, "data_format", "channels_last") == "channels_last":
        return layer.bias if layer.use_bias else None
    if type(layer) is not layers.BatchNormalization or layer.input_spec is None:
        return None
    return layer.beta if layer.axis in (-1, layer.input_spec.ndim - 1) else None


def largest(layer: keras.Layer, name: str, bits: int) -> int:
    """The largest integer that a kernel value can have in a file with this number of bits."""
    always_8 = type(layer) in _OF_8_BITS or name == "depthwise_kernel"
    return 2 ** ((8 if always_8 else bits) - 1) - 1


def steps_of(layer: keras.Layer, name: str, bits: int) -> np.ndarray:
    """The step size of a kernel's grid for each channel, in a shape that broadcasts with the kernel."""
    values = getattr(layer, name).numpy().astype("float32")
    axes = _SHARED_AXES[type(layer)][name]
    return np.maximum(np.abs(values).max(axis=axes, keepdims=True) / largest(layer, name, bits), 1e-12)


def round_kernels(layer: keras.Layer, bits: int) -> None:
    """Rounds a layer's kernels to the nearest values of their grids."""
    for name in _SHARED_AXES[type(layer)]:
        kernel, step = getattr(layer, name), steps_of(layer, name, bits)
        kernel.assign(np.round(kernel.numpy().astype("float32") / step) * step)


def linear(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """The output of a known layer before its activation, without any wrappers of its calls."""
    call = type(layer).call
    if type(layer) not in _SHARED_AXES or layer.activation is keras.activations.linear:
        return call(layer, *args, **kwargs)
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return call(layer, *args, **kwargs)
    finally:
        layer.activation = activation


def mean(values):
    """The mean of each channel, along the last axis, float32."""
    return ops.mean(ops.cast(values, "float32"), axis=tuple(range(len(values.shape) - 1)))
