"""Bias correction: takes back what rounded kernels do to the means of a network's values."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from tfkd._core.keras_internals import flatten_layers
from tfkd._core.snapshots import Snapshot
from tfkd.export._examples import Inputs

_INPUTS, _FEWEST = 64, 8
# What a pass may hold at once, in times the bytes of its inputs.
_PASS_BYTES, _INSIDE = 2**30, 16
# The axes of a kernel that share a scale; the others are the channels that it makes.
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
# Whose kernels have no fewer than 8 bits in any file.
_OF_8_BITS = (
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
)


@contextlib.contextmanager
def corrected_biases(
    model: keras.Model, inputs: Inputs, round_values: bool = True, kernel_bits: int = 8
) -> Iterator[bool]:
    """Biases that make up, inside the block, for what a converter will round to 8 bits, or to fewer.

    Rounding kernels shifts the mean of what a layer gives; rounding its values does so behind the next
    activation; and the shifts add up from layer to layer. Each bias of a convolution or dense layer, and
    beta of each batch normalization, is lowered by the shift of its mean over the inputs, layer by layer in
    the order of computation, so that each sees what comes out of those corrected before it.

    Args:
        model: any Keras model; its weights are as they were after the block.
        inputs: `(n, ...)`, or several by name, what the means are taken over, 64 at most.
        round_values: whether what flows between layers is rounded to 8 bits, too.
        kernel_bits: of the kernels of dense layers and convolutions, depthwise and transposed ones apart,
            which have 8.

    Returns:
        A context manager that yields whether there is anything to correct.

    Reference:
        Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and
        Bias Correction", 2019, section 4.2. Means are those of inputs, not of what batch normalizations
        know of them, so that any network can be corrected.
    """
    weighted = [layer for layer in flatten_layers(model) if _has_kernels(layer)]
    carriers = [layer for layer in flatten_layers(model) if _bias_of(layer) is not None]
    if not weighted or not carriers:
        yield False
        return
    of_one = sum(array[:1].nbytes for array in tree.flatten(inputs))
    most = max(_FEWEST, min(_INPUTS, _PASS_BYTES // (_INSIDE * of_one)))
    inputs = tree.map_structure(lambda array: ops.convert_to_tensor(array[:most]), inputs)
    before = Snapshot([_bias_of(layer) for layer in carriers])
    try:
        takers = _takers(model) if round_values else []
        means, ranges = _measure(model, carriers, takers, inputs)
        kernels = [getattr(layer, name) for layer in weighted for name in _SHARED_AXES[type(layer)]]
        exact = Snapshot(kernels)
        try:
            _round_kernels(weighted, kernel_bits)
            with _visiting(takers, _rounding(ranges)):
                _correct(model, carriers, inputs, means)
        finally:
            exact.restore()
        yield True
    finally:
        before.restore()


def _has_kernels(layer):
    """Whether a layer has kernels to round, which those of adapted layers, such as LoRA's, are not."""
    names = _SHARED_AXES.get(type(layer), {})
    return bool(names) and all(isinstance(getattr(layer, name), keras.Variable) for name in names)


def _bias_of(layer):
    """The weight of a layer that shifts its channels, one each along the last axis; None if it has none."""
    if type(layer) in _SHARED_AXES and getattr(layer, "data_format", "channels_last") == "channels_last":
        return layer.bias if layer.use_bias else None
    if type(layer) is not layers.BatchNormalization or layer.input_spec is None:
        return None
    return layer.beta if layer.axis in (-1, layer.input_spec.ndim - 1) else None


def _round_kernels(weighted, bits):
    for layer in weighted:
        for name, axes in _SHARED_AXES[type(layer)].items():
            kernel, always_8 = getattr(layer, name), type(layer) in _OF_8_BITS or name == "depthwise_kernel"
            values, largest = kernel.numpy().astype("float32"), 2 ** ((8 if always_8 else bits) - 1) - 1
            scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True) / largest, 1e-12)
            kernel.assign(np.round(values / scale) * scale)


def _takers(model):
    """The layers that take values from memory, where they are rounded, not right from the layer before."""
    kinds = (*_SHARED_AXES, layers.Add, layers.Multiply, layers.Concatenate, layers.GlobalAveragePooling2D)
    return [layer for layer in flatten_layers(model) if type(layer) in kinds]


def _measure(model, carriers, takers, inputs):
    """What a pass in float shows.

    Returns:
        The mean of each carrier's values by channel, without those called several times; and the lowest and
        highest value of what flows into takers, 0 among them, by layer and place.
    """
    means: dict[int, list] = {}
    ranges: dict[tuple[int, int], tuple[float, float]] = {}

    def note_mean(layer, call, args, kwargs):
        means.setdefault(id(layer), []).append(_mean(_linear(layer, call, args, kwargs)))
        return call(*args, **kwargs)

    def note_ranges(layer, call, args, kwargs):
        for place, values in enumerate(tree.flatten(args[0])):
            low, high = float(ops.min(values)), float(ops.max(values))
            known = ranges.get((id(layer), place), (0.0, 0.0))
            ranges[id(layer), place] = min(low, known[0]), max(high, known[1])
        return call(*args, **kwargs)

    with _visiting(takers, note_ranges), _visiting(carriers, note_mean):
        model(inputs, training=False)
    return {key: each[0] for key, each in means.items() if len(each) == 1}, ranges


def _rounding(ranges):
    """The call of a layer whose inputs are rounded by their ranges, where these are known."""

    def take(layer, call, args, kwargs):
        places = [ranges.get((id(layer), place)) for place in range(len(tree.flatten(args[0])))]
        rounded = [
            values if known is None else _rounded(values, *known)
            for values, known in zip(tree.flatten(args[0]), places, strict=True)
        ]
        return call(tree.pack_sequence_as(args[0], rounded), *args[1:], **kwargs)

    return take


def _rounded(values, low, high):
    step = max(high - low, 1e-12) / 255
    zero = round(-low / step)
    return (ops.clip(ops.round(values / step) + zero, 0, 255) - zero) * step


def _correct(model, carriers, inputs, means):
    biases = {id(layer): _bias_of(layer) for layer in carriers if id(layer) in means}

    def correct(layer, call, args, kwargs):
        bias = biases.get(id(layer))
        if bias is not None:
            shift = _mean(_linear(layer, call, args, kwargs)) - means[id(layer)]
            bias.assign(ops.cast(ops.cast(bias, "float32") - shift, bias.dtype))
        return call(*args, **kwargs)

    with _visiting(carriers, correct):
        model(inputs, training=False)


@contextlib.contextmanager
def _visiting(visited: list, visit: Callable[..., Any]) -> Iterator[None]:
    """Has `visit` stand for the call of each of some layers."""
    with contextlib.ExitStack() as stack:
        for layer in visited:
            stack.enter_context(_visited(layer, visit))
        yield


@contextlib.contextmanager
def _visited(layer, visit):
    call, visited_already = layer.call, "call" in vars(layer)
    object.__setattr__(layer, "call", lambda *args, **kwargs: visit(layer, call, args, kwargs))
    try:
        yield
    finally:
        if visited_already:
            object.__setattr__(layer, "call", call)
        else:
            object.__delattr__(layer, "call")


def _linear(layer, call, args, kwargs):
    """What a layer gives before its activation."""
    if type(layer) not in _SHARED_AXES or layer.activation is keras.activations.linear:
        return call(*args, **kwargs)
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return call(*args, **kwargs)
    finally:
        layer.activation = activation


def _mean(values):
    return ops.mean(ops.cast(values, "float32"), axis=tuple(range(len(values.shape) - 1)))
