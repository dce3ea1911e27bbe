"""The activations that networks end in, and the logits that stood before them."""

import re
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from tfkd._core.graphs import first_upstream, has_graph
from tfkd._core.keras_internals import is_keras_layer

# A last layer called this and a task's name tells files the task; its outputs are answers as they stand.
MARK = "outputs_of_"
# What logits cannot be told from any more: a probability nearer to 0 or 1 counts as this.
SMALLEST = 1e-7
# By how much rows of services, and of networks, may miss a sum of 1.
_TOLERANCE, _ROUNDING = 1e-2, 1e-3
_SHAPE_ONLY = (layers.Reshape, layers.Flatten, layers.Dropout, layers.Identity)
# Numbers as they stand; a log-softmax gives logits whose softmax is that of its input.
_PLAIN = ("linear", "relu", "log_softmax")
# Between -1 and 1, as classifiers that are trained on these two numbers answer.
SIGNS = ("tanh", "hard_tanh", "softsign")
# Between 0 and 1, but not what a sigmoid makes of logits.
_PROBABILITIES = ("hard_sigmoid", "sparse_sigmoid")


def last_operation(model: keras.Model) -> keras.Operation | None:
    """The layer or other operation that decides what a network of one output returns.

    Returns:
        The last one that does more than to change shape or precision; None where the graph is not known.
    """
    if not has_graph(model):
        return None
    (operation,) = first_upstream(model, lambda each: not _passes_values(each))
    return operation


def last_layer_name(model: keras.Model) -> str | None:
    """The name of the very last layer or operation; None where the graph is not known."""
    return next(first_upstream(model, lambda _: True)).name if has_graph(model) else None


def activation_of(operation: keras.Operation | None) -> str | None:
    """ "softmax" or "sigmoid" if that is what a layer or another operation ends in, else None."""
    name = _name_of_activation(operation)
    return name if name in ("softmax", "sigmoid") else None


def other_activation(operation: keras.Operation | None) -> str | None:
    """The name of what a layer or another operation ends in where that is neither numbers as they stand nor
    a softmax or sigmoid, such as "tanh"; None for these, and where it does not show."""
    name = _name_of_activation(operation)
    usual = "softmax", "sigmoid", *_PLAIN
    return name if name not in usual and hasattr(keras.activations, name or "") else None


def _name_of_activation(operation):
    """What Keras calls the activation that a layer, or one of `keras.ops`, ends in; None if it has none."""
    if isinstance(operation, layers.Softmax):
        return "softmax"
    if isinstance(operation, layers.ReLU):
        return "relu"
    if isinstance(operation, keras.Layer):
        return getattr(getattr(operation, "activation", None), "__name__", None)
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(operation).__name__).lower()
    return name if hasattr(keras.activations, name) else None


def activation_of_outputs(model: keras.Model, ask: Callable[[], np.ndarray]) -> str | None:
    """The activation that a network's outputs have been through.

    Args:
        model: a network of one output.
        ask: gives its outputs for many inputs; called only if nothing but its answers can tell.

    Raises:
        ValueError: if it ends in a softmax along another axis than the last.
    """
    operation = last_operation(model)
    if shows_activation(operation):
        _check_axis(operation, model.name)
        return activation_of(operation)
    outputs = np.asarray(ask(), "float32")
    seen = activation_seen(outputs)
    if seen != "softmax":
        _check_no_other_axis(outputs, model.name)
    if seen == "sigmoid" and _mixes(operation):
        # Averages of other things than probabilities may happen to lie in [0, 1], too.
        mixed = first_upstream(model, lambda each: not (_passes_values(each) or _mixes(each)))
        return seen if all(_gives_probabilities(each) for each in mixed) else None
    return seen


def is_activation_only(operation: keras.Operation) -> bool:
    """Whether an operation is nothing but a softmax or sigmoid, so that a network can end before it."""
    plain = isinstance(operation, layers.Softmax) or not isinstance(operation, keras.Layer)
    return plain and activation_of(operation) is not None


def are_probabilities(
    outputs: np.ndarray, activation: str = "softmax", tolerance: float = _TOLERANCE
) -> bool:
    """Whether outputs `(n, ..., classes)` could have come out of an activation.

    Args:
        outputs: a network's outputs.
        activation: "softmax", whose outputs lie in [0, 1] and sum to 1, or "sigmoid", whose lie in [0, 1].
        tolerance: by how much that may be missed.
    """
    inside = outputs.min() >= -tolerance and outputs.max() <= 1 + tolerance
    if activation == "softmax":
        inside = inside and (np.abs(outputs.sum(axis=-1) - 1) <= tolerance).all()
    return bool(inside)


def activation_seen(outputs: np.ndarray, tolerance: float = _ROUNDING) -> str | None:
    """The activation that outputs seem to have been through; None if they look like logits or numbers."""
    several = outputs.shape[-1] > 1
    kinds = ("softmax", "sigmoid") if several else ("sigmoid",)
    return next((kind for kind in kinds if are_probabilities(outputs, kind, tolerance)), None)


def logits_of(probabilities: np.ndarray, activation: str) -> np.ndarray:
    """The logits before a softmax, but for a constant, or before a sigmoid.

    Args:
        probabilities: `(..., classes)`; clipped at 1e-7.
        activation: "softmax" or "sigmoid".

    Returns:
        float32, of the same shape.
    """
    p = np.clip(np.asarray(probabilities, "float32"), SMALLEST, 1.0)
    if activation == "softmax":
        return np.log(p)
    return np.log(p) - np.log(np.clip(1 - np.asarray(probabilities, "float32"), SMALLEST, 1.0))


def shows_activation(operation: keras.Operation | None) -> bool:
    """Whether it is certain without asking what outputs of a layer or another operation have been through.

    It is not for code of users, combinations of layers, and activations that only resemble a sigmoid.
    """
    name = _name_of_activation(operation)
    if name in _PROBABILITIES:
        return False
    if not isinstance(operation, keras.Layer) or isinstance(operation, layers.Softmax | layers.ReLU):
        return name is not None
    if not is_keras_layer(operation):
        return False
    known = (None, *vars(keras.activations).values(), *vars(keras.ops).values())
    return vars(operation).get("activation", operation) in known


def _mixes(operation):
    """Whether an operation is a layer of Keras that pools, merges or scales what it gets."""
    own = hasattr(operation, "activation") or isinstance(operation, layers.Lambda | layers.Wrapper)
    return is_keras_layer(operation) and not own and not isinstance(operation, layers.InputLayer)


def _gives_probabilities(operation):
    return _name_of_activation(operation) in ("softmax", "sigmoid", *_PROBABILITIES)


def _check_axis(operation, name):
    axis = getattr(operation, "axis", -1) if activation_of(operation) == "softmax" else -1
    shape = tuple(operation.output.shape)
    axis %= len(shape)
    if any(side != 1 for side in shape[axis + 1 :]):
        _refuse_axis(axis, len(shape), name)


def _check_no_other_axis(outputs, name):
    for axis in range(1, outputs.ndim - 1):
        if outputs.shape[axis] > 1 and are_probabilities(
            np.moveaxis(outputs, axis, -1), "softmax", _ROUNDING
        ):
            _refuse_axis(axis, outputs.ndim, name)


def _refuse_axis(axis, rank, name):
    order = (*(each for each in range(1, rank) if each != axis), axis)
    raise ValueError(
        f"The teacher {name!r} ends in a softmax along axis {axis} of {rank}; classes must be the last "
        f"axis. Put them there: keras.Model(model.input, keras.layers.Permute({order})(model.output))."
    )


def _passes_values(operation):
    linear = isinstance(operation, layers.Activation) and operation.activation is keras.activations.linear
    return isinstance(operation, _SHAPE_ONLY) or (linear and not operation.name.startswith(MARK))
