"""Models that compute in half precision."""

import contextlib
from collections.abc import Iterator

import keras

from tfkd._core.asking import forget
from tfkd._core.graphs import copy_weights, has_graph
from tfkd._core.keras_internals import flatten_layers

# Machine epsilon: the distance between 1 and the next number.
_STEPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
_STEP_OF_FLOAT32 = 2.0**-23


def rounding(model: keras.Model) -> float:
    """The machine epsilon of the coarsest precision that a model computes in."""
    return max(_STEPS.get(layer.compute_dtype, _STEP_OF_FLOAT32) for layer in flatten_layers(model))


@contextlib.contextmanager
def in_float32(model: keras.Model) -> Iterator[keras.Model]:
    """Makes a model compute in float32 inside the block.

    Args:
        model: a model, unchanged afterwards; anything else passes through.

    Returns:
        A context manager that yields the model itself, or a copy if its weights are in half precision.

    Raises:
        ValueError: if such a model cannot be copied, because it has no graph.
    """
    if not isinstance(model, keras.Model):
        yield model
        return
    half = [(layer, layer.dtype_policy) for layer in flatten_layers(model) if layer.compute_dtype in _STEPS]
    try:
        for layer, _ in half:
            layer.dtype_policy = keras.DTypePolicy("float32")
        forget(model)
        # A copied layer gets the precision that the layer has now.
        yield copied(model) if any(weight.dtype in _STEPS for weight in model.weights) else model
    finally:
        for layer, policy in half:
            layer.dtype_policy = policy
        forget(model)


def copied(model: keras.Model) -> keras.Model:
    """A copy with its own weights; raises ValueError for a model without a graph."""
    if not has_graph(model):
        raise ValueError(
            f"`model`: {model.name!r} has half-precision weights and is subclassed, so it cannot be copied "
            "in float32. Build it in float32 or in mixed precision, and copy the weights of this one."
        )
    copy = keras.models.clone_model(model, clone_function=_copied_layer, recursive=True)
    copy_weights(model, copy)
    return copy


def _copied_layer(layer):
    return type(layer).from_config(layer.get_config())
