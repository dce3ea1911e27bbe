"""Operations of `keras.ops` between layers, as functions that tf_keras turns into layers."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfkd._core.tf_functions import CAST, OPERATION_OF, SLICING

# Operations with a Python operator; those with options follow.
_SIGNS = {
    "Add": operator.add,
    "Subtract": operator.sub,
    "Multiply": operator.mul,
    "Divide": operator.truediv,
    "TrueDivide": operator.truediv,
    "GetItem": operator.getitem,
}
# The options are attributes of the operation.
_WITH_OPTIONS: dict[str, Callable[..., Any]] = {
    "Cast": lambda made, x: tf.cast(x, made.dtype),
    "Cumsum": lambda made, x: tf.math.cumsum(x, made.axis),
    "ExpandDims": lambda made, x: tf.expand_dims(x, made.axis),
    "Gelu": lambda made, x: tf.nn.gelu(x, made.approximate),
    "Mean": lambda made, x: tf.math.reduce_mean(x, made.axis, made.keepdims),
    "OnesLike": lambda made, x, **_: tf.ones_like(x, made.dtype),
    "Sum": lambda made, x: tf.math.reduce_sum(x, made.axis, made.keepdims),
    "ZerosLike": lambda made, x, **_: tf.zeros_like(x, made.dtype),
}


def function_of(operation: keras.Operation) -> Callable[..., Any]:
    """The function that computes a Keras 3 operation on tensors of tf_keras.

    Args:
        operation: an operation that is not a layer.

    Raises:
        ValueError: naming the operation, if it has no counterpart.
    """
    kind = type(operation).__name__
    if kind in _SIGNS:
        return _SIGNS[kind]
    if kind in _WITH_OPTIONS:
        return functools.partial(_WITH_OPTIONS[kind], operation)
    if kind not in _by_operation():
        known = sorted({*_WITH_OPTIONS, *_by_operation()} - set(_SIGNS))
        raise ValueError(
            f"Operation {operation.name!r} ({kind}) has no counterpart in tf_keras. Use a layer instead, "
            "such as Reshape for keras.ops.reshape. Operations that have one: + - * / [] and "
            f"{', '.join(known)}."
        )
    return _by_operation()[kind]


@functools.cache
def _by_operation() -> dict[str, Any]:
    """The functions in older models, by the name of the equivalent operation."""
    return {
        counterpart.operation.__name__: functools.reduce(getattr, name.split("."), tf)
        for name, counterpart in OPERATION_OF.items()
        if name not in (CAST, SLICING) and not name.startswith("__operators__")
    }
