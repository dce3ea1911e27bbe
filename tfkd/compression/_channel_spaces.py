"""Where a network's channels can be scaled without changing what it computes."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from tfkd._core.graphs import has_graph, nodes, times_used
from tfkd._core.keras_internals import flatten_layers

DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_KINDS = (layers.Dense, layers.Conv1D, layers.Conv2D, *DEPTHWISE)
# What gives a mean or the largest of some values of a channel, or the values themselves.
SUMMARIES = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.Dropout,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
)
# What gives a multiple, channel by channel, for that multiple of all its inputs.
_PASSING = (
    *SUMMARIES,
    layers.Add,
    layers.Subtract,
    layers.Average,
    layers.Maximum,
    layers.LeakyReLU,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
)


class Space:
    """Channels that several values have in common, as along a residual stream.

    Attributes:
        makers: layers that make values of it, a kernel or a batch normalization each.
        takers: layers whose kernels take values of it.
        passing: layers in between.
    """

    def __init__(self) -> None:
        self.makers: list[Any] = []
        self.takers: list[Any] = []
        self.passing: list[Any] = []
        self.fixed = False

    def absorb(self, other: "Space") -> None:
        """Takes over what another one has."""
        self.makers += other.makers
        self.takers += other.takers
        self.passing += other.passing
        self.fixed |= other.fixed


def channel_spaces(root: keras.Model) -> list[Space]:
    """The spaces of a model, and of those nested in it, whose channels can all be scaled.

    Args:
        root: a functional or built Sequential model.
    """
    return [
        space for model in _models(root) for space in _spaces(model, lambda op: times_used(root, op) == 1)
    ]


def all_calls(root: keras.Model) -> list:
    """The calls in the graphs of a model and of those nested in it."""
    return [call for model in _models(root) for call in nodes(model)]


def _models(root):
    return [each for each in flatten_layers(root) if isinstance(each, keras.Model) and has_graph(each)]


def _spaces(model, once: Callable[[Any], bool]) -> Iterator[Space]:
    spaces: dict[int, Space] = {}

    def of(tensor):
        return spaces.setdefault(id(tensor), Space())

    def join(tensors):
        first, *others = [of(tensor) for tensor in tensors]
        for other in others:
            if other is not first:
                first.absorb(other)
                spaces.update({key: first for key, each in spaces.items() if each is other})
        return first

    for call in nodes(model):
        operation, tensors = call.operation, [*call.input_tensors, *call.outputs]
        if is_scaled(operation) and once(operation):
            of(call.input_tensors[0]).takers.append(operation)
            made = of(call.outputs[0])
            made.makers.append(operation)
            # An activation in the layer is behind what is scaled.
            made.fixed |= not _is_homogeneous(operation.activation)
        elif type(operation) is layers.BatchNormalization and once(operation):
            of(call.input_tensors[0]).fixed = True
            made = of(call.outputs[0])
            made.makers.append(operation)
            made.fixed |= operation.gamma is None or not is_last_axis(operation)
        elif _passes(operation):
            join(tensors).passing.append(operation)
        else:
            for tensor in tensors:
                of(tensor).fixed = True
    for tensor in [*model.inputs, *model.outputs]:
        of(tensor).fixed = True
    found = {id(space): space for space in spaces.values()}.values()
    return (space for space in found if space.makers and space.takers and not space.fixed)


def is_scaled(operation: Any) -> bool:
    """Whether a layer has a kernel whose channels can be scaled."""
    plain = getattr(operation, "groups", 1) == 1
    last = getattr(operation, "data_format", "channels_last") == "channels_last"
    return type(operation) in _KINDS and plain and last


def is_last_axis(norm: Any) -> bool:
    """Whether a built normalization is one of channels along the last axis."""
    return norm.axis in (-1, norm.input_spec.ndim - 1)


def is_relu6(layer: Any) -> bool:
    """Whether a layer is a ReLU with an upper end, or has one for its activation."""
    of_6 = type(layer) is layers.ReLU and layer.max_value is not None
    return of_6 or getattr(layer, "activation", None) is keras.activations.relu6


def _passes(operation):
    if type(operation) is layers.ReLU:
        return operation.max_value is None and not operation.threshold
    if type(operation) is layers.Activation:
        return _is_homogeneous(operation.activation)
    return type(operation) in _PASSING and getattr(operation, "data_format", None) != "channels_first"


def _is_homogeneous(activation):
    """Whether an activation of a positive multiple is that multiple of it."""
    return activation in (keras.activations.relu, keras.activations.linear)


def window_first(layer: Any) -> np.ndarray:
    """A layer's kernel as `(positions in its window, channels taken, channels made)`, float32.

    Of a depthwise layer the last are those made of each channel that it takes.
    """
    kernel = np.asarray(layer.kernel, "float32")
    return kernel.reshape(-1, *kernel.shape[-2:])
