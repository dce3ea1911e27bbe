"""Features of intermediate layers for many inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from tfkd import taps


def tapped(model: keras.Model, names: Sequence[str]) -> Callable[[Any], list]:
    """A compiled function from a batch of inputs to the tapped features in inference mode.

    Args:
        model: any Keras model.
        names: paths of layers, as `tfkd.taps.record` takes them.

    Returns:
        A function that returns a list of float32 tensors. Variables may change between calls.

    Raises:
        ValueError: for a path that is not in the model.
    """
    for name in names:
        taps.resolve(model, name)

    return for_any_batch(tf.function(lambda inputs: record_features(model, names, inputs), autograph=False))


def for_any_batch(function: Any) -> Callable[..., Any]:
    """Wraps a `tf.function` so that it is traced once for all batch sizes.

    Args:
        function: a function of tensors, or structures of them, whose first axis is the batch.

    Returns:
        A function that also takes arrays.
    """

    def call(*arguments):
        tensors = tree.map_structure(tf.convert_to_tensor, arguments)
        specs = tree.map_structure(
            lambda tensor: tf.TensorSpec(
                (None, *tensor.shape[1:]) if tensor.shape.rank else (), tensor.dtype
            ),
            tensors,
        )
        return function.get_concrete_function(*specs)(*tensors)

    return call


def record_features(model: keras.Model, names: Sequence[str], inputs: Any) -> list:
    """The tapped features of one forward pass in inference mode, as float32 tensors.

    Raises:
        ValueError: if a tapped layer returns several tensors.
    """
    with taps.record(model, names) as seen:
        model(inputs, training=False)
    for name in names:
        if isinstance(seen[name], list | tuple | dict):
            raise ValueError(
                f"Tap {name!r} of model {model.name!r} sees several tensors, but exactly one is needed. "
                "Tap a layer after it, or its input."
            )
    return [tf.cast(seen[name], "float32") for name in names]
