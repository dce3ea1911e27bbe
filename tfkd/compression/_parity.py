"""Checks whether a Keras 3 model and a tf_keras model have the same outputs."""

from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd import taps
from tfkd._core.precision import rounding
from tfkd._core.trial_inputs import trial_inputs

# The tolerance for sums in another order, relative to the largest value; in half precision, in epsilons.
_TOLERANCE, _ROUNDINGS = 1e-5, 8


def check_same_outputs(model: keras.Model, other: Any, made_in: str, rebuilt_in: str) -> None:
    """Raises ValueError if a rebuilt model has different outputs than the original.

    Args:
        model: the Keras 3 model, functional or Sequential.
        other: the tf_keras model.
        made_in: the library of the original model, for the message.
        rebuilt_in: the library of the rebuilt model.

    Raises:
        ValueError: if outputs on random inputs differ by more than 1e-5 of the largest value (in half
            precision by eight machine epsilons); the message names the first layer that differs, if it can
            be found.
    """
    inputs, tolerance = trial_inputs(model), max(_TOLERANCE, _ROUNDINGS * rounding(model))
    outputs = [tree.flatten(each(inputs, training=False)) for each in (model, other)]
    found = [_difference(one, two, tolerance) for one, two in zip(*outputs, strict=True)]
    if any(found):
        first = _first_layer(model, other, inputs, tolerance)
        raise ValueError(
            f"{model.name!r}, rebuilt in {rebuilt_in}, does not compute the same as in {made_in}: outputs "
            f"on random inputs {next(filter(None, found))}{first}."
        )


def _difference(one, two, tolerance):
    """How two tensors differ, in words; None if they do not."""
    kinds = [keras.backend.standardize_dtype(tensor.dtype) for tensor in (one, two)]
    if kinds[0] != kinds[1]:
        return f"are {' and '.join(kinds)}"
    one, two = np.asarray(one, "float32"), np.asarray(two, "float32")
    if one.shape != two.shape:
        return f"have shapes {one.shape} and {two.shape}"
    difference = np.abs(one - two).max()
    # Comparisons with NaN are false, so NaN counts as a difference.
    if difference <= tolerance * max(1.0, np.abs(one).max()):
        return None
    return f"differ by up to {difference:.2g}"


def _first_layer(model, other, inputs, tolerance):
    """Names the first layer that differs among those that are called once."""
    import tf_keras

    paths = {path.replace("/", "_"): path for path in taps.named_layers(model)}
    called_once = (layer for layer in other.layers if len(layer.inbound_nodes) == 1)
    once = {paths.get(layer.name.replace("/", "_")): layer for layer in called_once}
    once.pop(None, None)
    try:
        outputs = {path: layer.output for path, layer in once.items()}
        theirs = tf_keras.Model(other.input, outputs)(inputs, training=False)
    except ValueError:
        # The outputs of nested models belong to another graph.
        return ""
    with taps.record(model, theirs) as seen:
        model(inputs, training=False)
    for path in (path for path in once if path in seen):
        values = [tree.flatten(each[path]) for each in (seen, theirs)]
        if any(_difference(one, two, tolerance) for one, two in zip(*values, strict=True)):
            return f"; of the layers called once {path!r} ({type(once[path]).__name__}) differs first"
    return ""
