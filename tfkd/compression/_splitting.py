"""Splits layers into parts that tfmot can quantize."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

# Options of the depthwise convolution; the others belong to the pointwise one.
_DEPTHWISE = (
    "kernel_size",
    "strides",
    "padding",
    "dilation_rate",
    "depth_multiplier",
    "depthwise_regularizer",
    "depthwise_constraint",
)
_BOTH = ("data_format", "dtype")
_POINTWISE = (
    "filters",
    "use_bias",
    "activation",
    "bias_regularizer",
    "bias_constraint",
    "activity_regularizer",
)
_PROJECTIONS = ("query", "key", "value")


def is_separable(layer: keras.Layer) -> bool:
    """Whether a Keras 3 layer is a convolution that can be split."""
    return type(layer) is keras.layers.SeparableConv2D


def is_simple_attention(layer: keras.Layer, args: tuple, kwargs: dict) -> bool:
    """Whether a Keras 3 layer is attention between tokens that can be split, for the given arguments.

    Args:
        layer: any layer.
        args: the positional arguments of its call.
        kwargs: the keyword arguments of its call.
    """
    if type(layer) is not keras.layers.MultiHeadAttention:
        return False
    config = layer.get_config()
    kwargs = {name: value for name, value in kwargs.items() if value is not False}
    tokens = [*args, *(value for name, value in kwargs.items() if name != "attention_mask")]
    return (
        set(kwargs) <= {*_PROJECTIONS, "attention_mask"}
        and len(args) <= len(_PROJECTIONS)
        and all(len(each.shape) == 3 and getattr(each, "_keras_mask", None) is None for each in tokens)
        and tuple(config["attention_axes"] or (1,)) == (1,)
        # Older versions of Keras do not have these options.
        and not config.get("use_gate")
        and config.get("sliding_window") is None
        and len(_output_kernel(layer).shape) == 3
    )


def _output_kernel(attention):
    """The kernel of an attention layer's output projection, `(heads, size, width)` or with more axes."""
    return [weight for weight in attention.weights if weight.name == "kernel"][-1]


def part_names(layer: keras.Layer, name: str) -> list[str]:
    """The names of the parts that a layer's weights belong to, in order; the last gives its output.

    Args:
        layer: any Keras 3 layer.
        name: its name.
    """
    if is_separable(layer):
        return [f"{name}/depthwise", name]
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return [*(f"{name}/{projection}" for projection in _PROJECTIONS), name]
    return [name]


def entries_of_separable(layer: keras.Layer, name: str) -> list[dict]:
    """Class names and configurations of both parts of a separable convolution, depthwise first.

    Args:
        layer: a separable convolution.
        name: its name.
    """
    config = layer.get_config()
    first, last = part_names(layer, name)
    depthwise = {key: config[key] for key in _DEPTHWISE + _BOTH}
    depthwise |= {"name": first, "use_bias": False}
    pointwise = {key: config[key] for key in _POINTWISE + _BOTH}
    pointwise |= {
        "name": last,
        "kernel_size": 1,
        "kernel_regularizer": config["pointwise_regularizer"],
        "kernel_constraint": config["pointwise_constraint"],
    }
    return [
        {"class_name": "DepthwiseConv2D", "config": depthwise},
        {"class_name": "Conv2D", "config": pointwise},
    ]


def entries_of_attention(layer: keras.Layer, name: str) -> list[dict]:
    """Class names and configurations of the query, key, value and output projections.

    Args:
        layer: a simple attention layer.
        name: its name.
    """
    config = layer.get_config()
    options = ("use_bias", "dtype", "kernel_regularizer", "bias_regularizer", "kernel_constraint")
    common = {key: config[key] for key in (*options, "bias_constraint")}
    query, value = (config["num_heads"] * config[size] for size in ("key_dim", "value_dim"))
    widths = (query, query, value, _output_kernel(layer).shape[-1])
    return [
        {"class_name": "Dense", "config": {**common, "units": units, "name": part}}
        for units, part in zip(widths, part_names(layer, name), strict=True)
    ]


class Parts:
    """Layers of tf_keras that are called in sequence, with the weights of all.

    Args:
        layers: the layers.
        shapes: the shapes of the weights in the original layer.
    """

    def __init__(self, layers: list[Any], shapes: Iterable[tuple[int, ...]]) -> None:
        self._layers, self._shapes = layers, [tuple(shape) for shape in shapes]

    def __call__(self, inputs):
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def get_weights(self) -> list[np.ndarray]:
        """The weights of all layers, in the shapes of the original layer."""
        weights = (weight for layer in self._layers for weight in layer.get_weights())
        return [weight.reshape(shape) for weight, shape in zip(weights, self._shapes, strict=True)]

    def set_weights(self, weights: Iterable[np.ndarray]) -> None:
        """Sets the weights of all layers."""
        left = iter(weights)
        for layer in self._layers:
            layer.set_weights([next(left).reshape(weight.shape) for weight in layer.weights])

    @property
    def trainable(self) -> bool:
        """Whether all layers are trainable."""
        return all(layer.trainable for layer in self._layers)

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        for layer in self._layers:
            layer.trainable = trainable


class AttentionParts(Parts):
    """The projections of multi-head attention, with the dot-product attention between them in float.

    Args:
        layers: the query, key, value and output projections.
        shapes: the shapes of the attention layer's weights.
        config: the configuration of the attention layer.
    """

    def __init__(self, layers: list[Any], shapes: Iterable[tuple[int, ...]], config: dict) -> None:
        from tfkd.compression._dot_product import DotProductOfHeads

        super().__init__(layers, shapes)
        *self._projections, self._output = layers
        name = f"{self._output.name}/dot_product"
        self._attend = DotProductOfHeads(config["num_heads"], config["dropout"], name=name)

    def __call__(self, query, value, key=None, attention_mask=None, **switched_off):
        tokens = (query, value if key is None else key, value)
        projected = [project(each) for project, each in zip(self._projections, tokens, strict=True)]
        mask = [] if attention_mask is None else [attention_mask]
        return self._output(self._attend(projected + mask))
