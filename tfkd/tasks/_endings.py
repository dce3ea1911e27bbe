"""The activations that networks end in, and the logits that stood before them."""

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
_SHAPE_ONLY = (layers.Reshape, layers.Flatten, layers.Dropout)


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
    if isinstance(operation, layers.Softmax):
        return "softmax"
    if isinstance(operation, keras.Operation) and not isinstance(operation, keras.Layer):
        # keras.ops.softmax and keras.ops.sigmoid, in a functional model.
        name = type(operation).__name__.lower()
    else:
        name = getattr(getattr(operation, "activation", None), "__name__", None)
    return name if name in ("softmax", "sigmoid") else None


def activation_of_outputs(model: keras.Model, ask: Callable[[], np.ndarray]) -> str | None:
    """The activation that a network's outputs have been through.

    Args:
        model: a network of one output.
        ask: gives its outputs for many inputs; called only if its last layer is not one of Keras's, so that
            nothing but its answers can tell.
    """
    operation = last_operation(model)
    activation = activation_of(operation)
    if activation is not None or (is_keras_layer(operation) and not isinstance(operation, layers.Lambda)):
        return activation
    return activation_seen(np.asarray(ask(), "float32"))


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


def _passes_values(operation):
    linear = isinstance(operation, layers.Activation) and operation.activation is keras.activations.linear
    return isinstance(operation, _SHAPE_ONLY) or (linear and not operation.name.startswith(MARK))
