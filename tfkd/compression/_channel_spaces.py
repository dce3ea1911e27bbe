"""Finds the channels of a network that can be scaled without changing its outputs."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from tfkd._core.graphs import has_graph, nodes, times_used
from tfkd._core.keras_internals import flatten_layers

DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_KINDS = (layers.Dense, layers.Conv1D, layers.Conv2D, *DEPTHWISE)
# Layers that return the mean or maximum of a channel's values, or the values themselves.
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
# Layers that are positively homogeneous in each channel: scaled inputs give equally scaled outputs.
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
    """Channels that several tensors share, as along a residual stream.

    Attributes:
        makers: layers that produce these channels, each with a kernel or a batch normalization.
        takers: layers whose kernels consume these channels.
        passing: layers in between.
    """

    def __init__(self) -> None:
        self.makers: list[Any] = []
        self.takers: list[Any] = []
        self.passing: list[Any] = []
        self.fixed = False

    def absorb(self, other: "Space") -> None:
        """Merges another space into this one."""
        self.makers += other.makers
        self.takers += other.takers
        self.passing += other.passing
        self.fixed |= other.fixed


def channel_spaces(root: keras.Model) -> list[Space]:
    """The spaces of a model and its nested models whose channels can all be scaled.

    Args:
        root: a functional or built Sequential model.
    """
    return [
        space for model in _models(root) for space in _spaces(model, lambda op: times_used(root, op) == 1)
    ]


def all_calls(root: keras.Model) -> list:
    """The calls in the graphs of a model and its nested models."""
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
            # The layer's activation is applied after the scaling.
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
    """Whether a built normalization has its channels along the last axis."""
    return norm.axis in (-1, norm.input_spec.ndim - 1)


def is_relu6(layer: Any) -> bool:
    """Whether a layer is a bounded ReLU, or has ReLU6 as its activation."""
    of_6 = type(layer) is layers.ReLU and layer.max_value is not None
    return of_6 or getattr(layer, "activation", None) is keras.activations.relu6


def _passes(operation):
    if type(operation) is layers.ReLU:
        return operation.max_value is None and not operation.threshold
    if type(operation) is layers.Activation:
        return _is_homogeneous(operation.activation)
    return type(operation) in _PASSING and getattr(operation, "data_format", None) != "channels_first"


def _is_homogeneous(activation):
    """Whether an activation is positively homogeneous."""
    return activation in (keras.activations.relu, keras.activations.linear)


def window_first(layer: Any) -> np.ndarray:
    """A layer's kernel as `(window positions, input channels, output channels)`, float32.

    For a depthwise layer the last axis has the output channels for each input channel.
    """
    kernel = np.asarray(layer.kernel, "float32")
    return kernel.reshape(-1, *kernel.shape[-2:])
