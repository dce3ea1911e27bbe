"""The only module that uses internals of Keras (and tf_keras), where there is no public way.

These internals exist in every version from 3.10 on, and are why Keras has an upper bound.
"""

import inspect

import keras

# The operations that implement `keras.ops`, to build graphs from operations by name.
import keras.src.ops.core as core_operations
import keras.src.ops.nn as network_operations
import keras.src.ops.numpy as numpy_operations
import tensorflow as tf
from keras.src.backend import compute_output_spec
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
from keras.src.models.functional import Functional
from keras.src.ops.node import KerasHistory
from keras.src.trainers.compile_utils import CompileMetrics

__all__ = [
    "build_shapes",
    "call_of",
    "check_compiled",
    "compiled_metrics",
    "core_operations",
    "flatten_layers",
    "freeze",
    "history",
    "inbound_nodes",
    "is_attention",
    "is_functional",
    "is_keras_layer",
    "learning_rate",
    "mask_of",
    "network_operations",
    "nodes_by_depth",
    "numpy_operations",
    "run_through_graph",
    "share_value",
    "symbolic_call",
    "thaw",
    "trained_by",
    "with_mask",
]


def compiled_metrics(metrics, weighted_metrics):
    """The single metric in which Keras wraps those given to `compile`, for one output."""
    return CompileMetrics(metrics, weighted_metrics)


def flatten_layers(layer, include_self: bool = True, recursive: bool = True) -> list:
    """A layer and the layers inside it, of Keras or tf_keras."""
    return list(layer._flatten_layers(recursive=recursive, include_self=include_self))


def inbound_nodes(operation) -> list:
    """The calls of an operation that are part of a graph."""
    return operation._inbound_nodes


def call_of(tensor):
    """The call of an operation that made a symbolic tensor."""
    operation, index, _ = history(tensor)
    return inbound_nodes(operation)[index]


def check_compiled(model: keras.Model, method: str) -> None:
    """Raises Keras's ValueError if a model whose method is called has not been compiled."""
    model._assert_compile_called(method)


def freeze(model: keras.Model) -> None:
    """Marks a model as frozen without changing its layers.

    The public setter freezes every layer too, and so do all models that are cloned from it.
    """
    model._trainable = False


def thaw(model: keras.Model) -> None:
    """Undoes `freeze`."""
    model._trainable = True


def history(tensor) -> KerasHistory:
    """The operation that made a symbolic tensor, and the indices of its call and its output."""
    return tensor._keras_history


def is_attention(layer: object) -> bool:
    """Whether a layer computes attention as `keras.layers.MultiHeadAttention` does.

    True for its subclasses, and for layers of tf_keras and keras-hub that share the method but no class.
    """
    method = getattr(type(layer), "_compute_attention", None)
    if method is None:
        return False
    names = list(inspect.signature(method).parameters)[1:4]
    return [name[0] for name in names] == ["q", "k", "v"]


def is_functional(model: object) -> bool:
    """Whether a model is functional."""
    return isinstance(model, Functional)


def nodes_by_depth(model: keras.Model) -> dict[int, list]:
    """The calls in the graph of a functional or built Sequential model, by depth."""
    return getattr(model, "_functional", model)._nodes_by_depth


def run_through_graph(model: keras.Model, inputs, replaced=lambda operation: operation):
    """Applies the operations of a functional or built Sequential model, or their replacements, in order."""
    return getattr(model, "_functional", model)._run_through_graph(inputs, operation_fn=replaced)


def build_shapes(model: keras.Model) -> dict:
    """The shapes that a model was built with, by argument name of `build`."""
    return model._build_shapes_dict or {}


def is_keras_layer(layer: object) -> bool:
    """Whether a layer is one of Keras's own, not a subclass from elsewhere."""
    return isinstance(layer, keras.Layer) and type(layer).__module__.startswith("keras.src.layers")


def symbolic_call(function, *args, **kwargs):
    """The symbolic outputs of a function for symbolic arguments; no variable changes."""
    return compute_output_spec(function, *args, **kwargs)


def learning_rate(
    optimizer: keras.optimizers.Optimizer,
) -> keras.optimizers.schedules.LearningRateSchedule | keras.Variable:
    """An optimizer's schedule or learning-rate variable; the public property returns only the value."""
    return optimizer._learning_rate


def trained_by(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """The variables that an optimizer was built for."""
    return optimizer._trainable_variables


def share_value(variable: keras.Variable, value: tf.Variable) -> None:
    """Makes a Keras variable use an existing `tf.Variable`."""
    variable._value = value


def mask_of(tensor):
    """The Keras mask of a tensor; None if the layers that made it set none."""
    return get_keras_mask(tensor)


def with_mask(tensor, mask):
    """A copy of a tensor that carries a mask for the next layer."""
    copy = tf.identity(tensor)
    set_keras_mask(copy, mask)
    return copy
