"""Rebuilds float TFLite files as Keras models."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from tfkd.teachers._tflite_graph import Graph, NotCovered, Operator

_PADDINGS = {0: "same", 1: "valid"}
# Fused activations, by TFLite's numbers.
_FUSED = {0: None, 1: "relu", 3: "relu6", 4: "tanh"}
_ACTIVATIONS = {
    "RELU": "relu",
    "RELU6": "relu6",
    "LOGISTIC": "sigmoid",
    "TANH": "tanh",
    "ELU": "elu",
    "HARD_SWISH": "hard_silu",
    "LOG_SOFTMAX": "log_softmax",
}


def from_tflite(content: bytes, name: str) -> keras.Model:
    """The Keras model of a TFLite file whose operators have counterparts in Keras.

    Batch normalizations stay folded into the convolutions. Weights of 8 or 16 bits become floats.

    Args:
        content: bytes of a file that passed `untrusted.check_tflite`.
        name: name of the model.

    Returns:
        A Keras model that is not compiled.

    Raises:
        NotCovered: if an operator has no counterpart, or is used in an unsupported way; the message names
            it.
    """
    graph = Graph(content)
    inputs = keras.Input(graph.shape(graph.input)[1:], name="input")
    tensors: dict[int, Any] = {graph.input: inputs}
    with_weights: list[str] = []
    for operator in graph.operators:
        call = _Call(graph, operator, tensors, with_weights)
        # Values computed from constants or shapes alone are not part of the network.
        if operator.kind == "DEQUANTIZE" and call.constant(0) is not None:
            tensors[operator.output] = call.constant(0)
        elif graph.kind(operator.output) == "FLOAT32":
            tensors[operator.output] = _applied(call)
    if not keras.backend.is_keras_tensor(tensors.get(graph.output)):
        raise NotCovered("its output does not come from its input")
    return keras.Model(inputs, tensors[graph.output], name=name)


class _Call:
    """An operator with its inputs."""

    def __init__(
        self, graph: Graph, operator: Operator, tensors: dict[int, Any], with_weights: list[str]
    ) -> None:
        self.graph, self.operator, self._tensors = graph, operator, tensors
        # The layers with weights so far.
        self.with_weights = with_weights
        self.options, self.name = operator.options, operator.name

    def constant(self, place: int) -> np.ndarray | None:
        """A constant input; None if it is computed or missing."""
        if place >= len(self.operator.inputs) or self.operator.inputs[place] < 0:
            return None
        index = self.operator.inputs[place]
        made = self._tensors.get(index)
        return made if isinstance(made, np.ndarray) else self.graph.constant(index)

    def needed(self, place: int) -> np.ndarray:
        """A required constant input."""
        if (value := self.constant(place)) is None:
            raise NotCovered(f"operator {self.operator.kind} has an input {place} that is not a constant")
        return value

    def tensor(self, place: int = 0) -> Any:
        """A tensor input."""
        tensor = self._tensors.get(self.operator.inputs[place])
        if not keras.backend.is_keras_tensor(tensor):
            raise NotCovered(f"operator {self.operator.kind} is not called on the network's own tensors")
        return tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its output, without the batch."""
        return self.graph.shape(self.operator.output)[1:]

    def layer(self, kind: Callable[..., Any], x: Any, weights: list[np.ndarray | None], **options: Any):
        """A new layer with the given weights, applied to a tensor."""
        layer = kind(**options, name=self.name)
        outputs = layer(x)
        layer.set_weights([each for each in weights if each is not None])
        self.with_weights.append(self.name)
        return outputs


def _applied(call: _Call):
    """The output of an operator, in Keras."""
    kind = call.operator.kind
    if kind not in _COUNTERPARTS or call.operator.outputs != 1:
        raise NotCovered(f"operator {kind} has no counterpart here")
    try:
        x = _COUNTERPARTS[kind](call)
    except NotCovered:
        raise
    except Exception as error:
        raise NotCovered(
            f"operator {kind} is used in a way that Keras does not support: {error}"
        ) from error
    fused = getattr(call.options, "fusedActivationFunction", 0)
    if fused not in _FUSED:
        raise NotCovered(f"operator {kind} has an activation that Keras lacks")
    if _FUSED[fused] is not None:
        x = layers.Activation(_FUSED[fused], name=f"{call.name}_{_FUSED[fused]}")(x)
    if call.graph.shape(call.operator.output) != (call.graph.batch, *x.shape[1:]):
        raise NotCovered(f"operator {kind} has another output shape in Keras")
    return x


def _convolution(call):
    # (filters, height, width, channels of a group)
    kernel, bias, x = call.needed(1).transpose(1, 2, 3, 0), call.constant(2), call.tensor()
    return call.layer(
        layers.Conv2D,
        x,
        [kernel, bias],
        filters=kernel.shape[3],
        kernel_size=kernel.shape[:2],
        groups=x.shape[-1] // kernel.shape[2],
        use_bias=bias is not None,
        **_window(call.options),
        dilation_rate=(call.options.dilationHFactor, call.options.dilationWFactor),
    )


def _depthwise(call):
    # (1, height, width, channels * multiplier)
    kernel, bias, x = call.needed(1)[0], call.constant(2), call.tensor()
    multiplier = kernel.shape[-1] // x.shape[-1]
    return call.layer(
        layers.DepthwiseConv2D,
        x,
        [kernel.reshape(*kernel.shape[:2], x.shape[-1], multiplier), bias],
        kernel_size=kernel.shape[:2],
        depth_multiplier=multiplier,
        use_bias=bias is not None,
        **_window(call.options),
        dilation_rate=(call.options.dilationHFactor, call.options.dilationWFactor),
    )


def _dense(call):
    kernel, bias, x = call.needed(1).T, call.constant(2), call.tensor()
    if call.options.weightsFormat:
        raise NotCovered("operator FULLY_CONNECTED has shuffled weights")
    if not call.options.keepNumDims and len(x.shape) > 2:
        x = layers.Flatten(name=f"{call.name}_flat")(x)
    return call.layer(layers.Dense, x, [kernel, bias], units=kernel.shape[1], use_bias=bias is not None)


def _window(options):
    return {"strides": (options.strideH, options.strideW), "padding": _PADDINGS[options.padding]}


def _pooling(kind):
    def pooled(call):
        size = (call.options.filterHeight, call.options.filterWidth)
        return kind(size, **_window(call.options), name=call.name)(call.tensor())

    return pooled


def _mean(call):
    axes = {int(axis) % 4 for axis in np.ravel(call.needed(1))}
    x = call.tensor()
    if len(x.shape) != 4 or axes != {1, 2}:
        raise NotCovered("operator MEAN is over axes other than height and width")
    return layers.GlobalAveragePooling2D(keepdims=call.options.keepDims, name=call.name)(x)


def _reshaped(call):
    x, shape = call.tensor(), call.shape
    if shape == (math.prod(x.shape[1:]),):
        return layers.Flatten(name=call.name)(x)
    return layers.Reshape(shape, name=call.name)(x)


def _softmax(call):
    if call.options.beta != 1:
        raise NotCovered("operator SOFTMAX has a temperature")
    return layers.Activation("softmax", name=call.name)(call.tensor())


def _leaky_relu(call):
    return layers.LeakyReLU(call.options.alpha, name=call.name)(call.tensor())


def _padded(call):
    padding = call.needed(1)
    if padding.shape != (4, 2) or padding[[0, 3]].any():
        raise NotCovered(f"operator {call.operator.kind} pads axes other than height and width")
    if call.operator.kind == "PADV2" and call.needed(2).any():
        raise NotCovered("operator PADV2 pads with values other than zero")
    return layers.ZeroPadding2D(padding[1:3].tolist(), name=call.name)(call.tensor())


def _concatenated(call):
    tensors = [call.tensor(place) for place in range(len(call.operator.inputs))]
    return layers.Concatenate(axis=call.options.axis, name=call.name)(tensors)


def _merged(kind: type[layers.Layer], factor: Callable, offset: Callable):
    """Merges two tensors, or scales and shifts one by a constant, for all values or per channel.

    `factor` and `offset` take the constant, and whether it is the first operand.
    """

    def merged(call):
        constants = [call.constant(place) for place in (0, 1)]
        if constants[0] is None and constants[1] is None:
            one, two = call.tensor(0), call.tensor(1)
            if one.shape != two.shape:
                raise NotCovered(f"operator {call.operator.kind} is called on tensors of different shapes")
            return kind(name=call.name)([one, two])
        first = constants[0] is not None
        constant, x = np.squeeze(call.needed(int(not first))), call.tensor(int(first))
        if constant.shape not in ((), (x.shape[-1],)):
            raise NotCovered(
                f"operator {call.operator.kind} has a constant that is not one for each channel"
            )
        return _scaled(call, x, *np.broadcast_arrays(factor(constant, first), offset(constant, first)))

    return merged


def _scaled(call, x, factor, offset):
    """Scales inputs by a layer without weights, inner features by one that can be thinned."""
    if factor.shape and len(x.shape) == 4 and call.with_weights:
        kernel = factor.reshape(1, 1, -1, 1)
        return call.layer(layers.DepthwiseConv2D, x, [kernel, offset], kernel_size=1)
    return layers.Rescaling(factor.tolist(), offset.tolist(), name=call.name)(x)


_COUNTERPARTS: dict[str, Callable[[_Call], Any]] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "AVERAGE_POOL_2D": _pooling(layers.AveragePooling2D),
    "MAX_POOL_2D": _pooling(layers.MaxPooling2D),
    "MEAN": _mean,
    "RESHAPE": _reshaped,
    "SQUEEZE": _reshaped,
    "EXPAND_DIMS": _reshaped,
    "SOFTMAX": _softmax,
    "LEAKY_RELU": _leaky_relu,
    "PAD": _padded,
    "PADV2": _padded,
    "CONCATENATION": _concatenated,
    "ADD": _merged(layers.Add, lambda c, first: 1.0, lambda c, first: c),
    "SUB": _merged(
        layers.Subtract, lambda c, first: -1.0 if first else 1.0, lambda c, first: c if first else -c
    ),
    "MUL": _merged(layers.Multiply, lambda c, first: c, lambda c, first: 0.0),
    **{
        kind: lambda call, name=name: layers.Activation(name, name=call.name)(call.tensor())
        for kind, name in _ACTIVATIONS.items()
    },
}
