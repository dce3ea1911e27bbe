"""The final activations of networks, and the logits before them."""

import re
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from tfkd._core.graphs import first_upstream, has_graph
from tfkd._core.keras_internals import is_keras_layer

# Prefix of a last layer's name that records the task in files; its outputs are final.
MARK = "outputs_of_"
# Probabilities are clipped to this distance from 0 and 1.
SMALLEST = 1e-7
# Tolerances for row sums of 1: for services, and for networks.
_TOLERANCE, _ROUNDING = 1e-2, 1e-3
_SHAPE_ONLY = (layers.Reshape, layers.Flatten, layers.Dropout, layers.Identity)
# Plain numbers; a log-softmax gives logits with the same softmax as its input.
_PLAIN = ("linear", "relu", "log_softmax")
# Between -1 and 1, like classifiers trained on these two numbers.
SIGNS = ("tanh", "hard_tanh", "softsign")
# Between 0 and 1, but not a sigmoid of logits.
_PROBABILITIES = ("hard_sigmoid", "sparse_sigmoid")


def last_operation(model: keras.Model) -> keras.Operation | None:
    """The layer or other operation that determines the output of a single-output network.

    Returns:
        The last one that does more than change shape or precision; None if the graph is unknown.
    """
    if not has_graph(model):
        return None
    (operation,) = first_upstream(model, lambda each: not _passes_values(each))
    return operation


def last_layer_name(model: keras.Model) -> str | None:
    """The name of the very last layer or operation; None if the graph is unknown."""
    return next(first_upstream(model, lambda _: True)).name if has_graph(model) else None


def activation_of(operation: keras.Operation | None) -> str | None:
    """ "softmax" or "sigmoid" if a layer or another operation ends in it, otherwise None."""
    name = _name_of_activation(operation)
    return name if name in ("softmax", "sigmoid") else None


def other_activation(operation: keras.Operation | None) -> str | None:
    """The name of the final activation of a layer or operation, such as "tanh"; None for a linear output, a
    softmax or a sigmoid, and if it is unknown."""
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
    """The activation applied to a network's outputs.

    Args:
        model: a network of one output.
        ask: returns its outputs for many inputs; called only if the graph does not show the activation.

    Raises:
        ValueError: if it ends in a softmax along an axis other than the last.
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
        # Averages of values that are not probabilities may also lie in [0, 1].
        mixed = first_upstream(model, lambda each: not (_passes_values(each) or _mixes(each)))
        return seen if all(_gives_probabilities(each) for each in mixed) else None
    return seen


def is_activation_only(operation: keras.Operation) -> bool:
    """Whether an operation is only a softmax or sigmoid, so that a network can be cut before it."""
    plain = isinstance(operation, layers.Softmax) or not isinstance(operation, keras.Layer)
    return plain and activation_of(operation) is not None


def are_probabilities(
    outputs: np.ndarray, activation: str = "softmax", tolerance: float = _TOLERANCE
) -> bool:
    """Whether outputs `(n, ..., classes)` could come from an activation.

    Args:
        outputs: a network's outputs.
        activation: "softmax" for outputs in [0, 1] that sum to 1, or "sigmoid" for outputs in [0, 1].
        tolerance: allowed deviation.
    """
    inside = outputs.min() >= -tolerance and outputs.max() <= 1 + tolerance
    if activation == "softmax":
        inside = inside and (np.abs(outputs.sum(axis=-1) - 1) <= tolerance).all()
    return bool(inside)


def activation_seen(outputs: np.ndarray, tolerance: float = _ROUNDING) -> str | None:
    """The activation that outputs seem to have; None if they look like logits or numbers."""
    several = outputs.shape[-1] > 1
    kinds = ("softmax", "sigmoid") if several else ("sigmoid",)
    return next((kind for kind in kinds if are_probabilities(outputs, kind, tolerance)), None)


def logits_of(probabilities: np.ndarray, activation: str) -> np.ndarray:
    """The logits before a softmax, up to a constant, or before a sigmoid.

    Args:
        probabilities: `(..., classes)`; clipped at 1e-7.
        activation: "softmax" or "sigmoid".

    Returns:
        float32 of the same shape.
    """
    p = np.clip(np.asarray(probabilities, "float32"), SMALLEST, 1.0)
    if activation == "softmax":
        return np.log(p)
    return np.log(p) - np.log(np.clip(1 - np.asarray(probabilities, "float32"), SMALLEST, 1.0))


def shows_activation(operation: keras.Operation | None) -> bool:
    """Whether the activation of an operation is certain without looking at outputs.

    It is not certain for user code, combinations of layers, and activations that only resemble a sigmoid.
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
    """Whether an operation is a Keras layer that pools, merges or scales its inputs."""
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
        f"The teacher {name!r} ends in a softmax along axis {axis} of {rank}; classes must be on the last "
        f"axis. Move them there: keras.Model(model.input, keras.layers.Permute({order})(model.output))."
    )


def _passes_values(operation):
    linear = isinstance(operation, layers.Activation) and operation.activation is keras.activations.linear
    return isinstance(operation, _SHAPE_ONLY) or (linear and not operation.name.startswith(MARK))
