"""Separable convolutions as the two convolutions they consist of, each of which tfmot can quantize."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

# Of the depthwise convolution; the other options are the pointwise one's.
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


def is_separable(layer: keras.Layer) -> bool:
    """Whether a Keras 3 layer can be taken apart."""
    return type(layer) is keras.layers.SeparableConv2D


def depthwise_name(name: str) -> str:
    """What the depthwise part of a layer is called; the pointwise one keeps the layer's name and output."""
    return f"{name}/depthwise"


def entries_of_parts(layer: keras.Layer, name: str) -> list[dict]:
    """Class names and configurations of both parts, depthwise first.

    Args:
        layer: a separable convolution.
        name: what it is called.
    """
    config = layer.get_config()
    depthwise = {key: config[key] for key in _DEPTHWISE + _BOTH}
    depthwise |= {"name": depthwise_name(name), "use_bias": False}
    pointwise = {key: config[key] for key in _POINTWISE + _BOTH}
    pointwise |= {
        "name": name,
        "kernel_size": 1,
        "kernel_regularizer": config["pointwise_regularizer"],
        "kernel_constraint": config["pointwise_constraint"],
    }
    return [
        {"class_name": "DepthwiseConv2D", "config": depthwise},
        {"class_name": "Conv2D", "config": pointwise},
    ]


class Parts:
    """Layers of tf_keras that are called one after the other, with the weights of all.

    Args:
        layers: the layers.
    """

    def __init__(self, layers: list[Any]) -> None:
        self._layers = layers

    def __call__(self, inputs):
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs

    def get_weights(self) -> list[np.ndarray]:
        """The weights of all layers."""
        return [weight for layer in self._layers for weight in layer.get_weights()]

    def set_weights(self, weights: Iterable[np.ndarray]) -> None:
        """Sets the weights of all layers."""
        left = iter(weights)
        for layer in self._layers:
            layer.set_weights([next(left) for _ in layer.weights])

    @property
    def trainable(self) -> bool:
        """Whether all are trained."""
        return all(layer.trainable for layer in self._layers)

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        for layer in self._layers:
            layer.trainable = trainable
