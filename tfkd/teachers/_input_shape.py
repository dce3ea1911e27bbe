"""A user-specified input shape, for networks on flat pixels or of open size."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tfkd._core.graphs import apply_layers, has_graph


def with_input_shape(network: Any, shape: Sequence[int]) -> keras.Model:
    """A network with a given input shape, sharing layers and weights with the original.

    Args:
        network: a Keras model with one input; black-box files are rejected.
        shape: shape of an input, without the batch: a size for a network with open sizes, or a shape with
            as many values as it takes, such as (28, 28, 1) for 784.

    Raises:
        TypeError: if the shape does not consist of integers.
        ValueError: if the network does not take such inputs, or is a black-box file.
    """
    if isinstance(shape, int) or not all(isinstance(side, int) for side in shape):
        raise TypeError(f"`input_shape` must be integers, such as (28, 28, 1). Received: {shape!r}.")
    shape = tuple(shape)
    if not isinstance(network, keras.Model):
        raise ValueError(
            "`input_shape` is for Keras models. Received: a black-box file, whose input shape is fixed. "
            "Leave `input_shape` out."
        )
    own = tuple(network.input_shape[1:]) if isinstance(network.input_shape, tuple) else ()
    open_sides = len(own) == len(shape) and all(
        mine in (None, side) for mine, side in zip(own, shape, strict=True)
    )
    flat = own and None not in own and math.prod(own) == math.prod(shape)
    if not (open_sides or flat) or min(shape, default=0) < 1:
        raise ValueError(
            f"`input_shape` must match the inputs of {network.name!r}, {own or network.input_shape}: with "
            "a size in place of None, or with as many values, such as (28, 28, 1) for (784,). Received: "
            f"{shape}."
        )
    x = inputs = keras.Input(shape, dtype=network.inputs[0].dtype)
    if not open_sides:
        x = layers.Reshape(own, name="as_teacher_takes_it")(x)
    x = apply_layers(network, x) if has_graph(network) else network(x, training=False)
    return keras.Model(inputs, x, name=network.name)
