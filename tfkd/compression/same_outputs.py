"""Whether a model of Keras 3 and one of tf_keras compute the same."""

from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd import taps

_TOLERANCE = 1e-5
# Where a size is open, this is enough for most networks.
_OPEN_SIZE = 32


def check_same_outputs(model: keras.Model, other: Any, made_in: str, rebuilt_in: str) -> None:
    """Refuses a rebuilt model that computes something else than the one it was made of.

    Args:
        model: the model of Keras 3, functional or Sequential.
        other: the model of tf_keras.
        made_in: the library of the model that was there, for the message.
        rebuilt_in: that of the rebuilt one.

    Raises:
        ValueError: if outputs on random inputs differ by more than 1e-5 of the largest; the message names
            the first layer that computes something else.
    """
    rng = np.random.default_rng(0)

    def example(tensor):
        shape = [4, *(size or _OPEN_SIZE for size in tensor.shape[1:])]
        if keras.backend.is_float_dtype(tensor.dtype):
            return rng.uniform(size=shape).astype(tensor.dtype)
        # Numbers that every embedding knows; one of them may be masked.
        return np.resize([1, 0], shape).astype(tensor.dtype)

    inputs = tree.map_structure(example, getattr(model, "_functional", model)._inputs_struct)
    outputs = [tree.flatten(each(inputs, training=False)) for each in (model, other)]
    found = [_difference(*pair) for pair in zip(*outputs, strict=True)]
    if any(found):
        raise ValueError(
            f"{model.name!r}, built again in {rebuilt_in}, computes something else than in {made_in}: "
            f"outputs on random inputs {next(filter(None, found))}{_first_layer(model, other, inputs)}."
        )


def _difference(one, two):
    """How two tensors differ, in words; None if they do not."""
    one, two = np.asarray(one, "float32"), np.asarray(two, "float32")
    if one.shape != two.shape:
        return f"are of shapes {one.shape} and {two.shape}"
    difference = np.abs(one - two).max()
    # NaN compares as false, so that a difference of NaN is one, too.
    if difference <= _TOLERANCE * max(1.0, np.abs(one).max()):
        return None
    return f"differ by up to {difference:.2g}"


def _first_layer(model, other, inputs):
    """Says which layer differs first, of those that are called once."""
    import tf_keras

    known = taps.named_layers(model)
    layers = [layer for layer in other.layers if layer.name in known and len(layer.inbound_nodes) == 1]
    theirs = tf_keras.Model(other.input, {layer.name: layer.output for layer in layers})
    seen_by_other = theirs(inputs, training=False)
    with taps.record(model, seen_by_other) as seen:
        model(inputs, training=False)
    for layer in (layer for layer in layers if layer.name in seen):
        values = [tree.flatten(each[layer.name]) for each in (seen, seen_by_other)]
        if any(_difference(*pair) for pair in zip(*values, strict=True)):
            return f"; the first layer that differs is {layer.name!r} ({type(layer).__name__})"
    return ""
