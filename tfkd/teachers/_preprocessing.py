"""Detecting a network's own preprocessing, and the input range it expects."""

import keras
import numpy as np
from keras import layers

from tfkd._core.asking import answers
from tfkd._core.graphs import has_graph, nodes
from tfkd._core.layouts import filled_shape

# Maximum range of values after a network's own scaling.
_WIDEST = 12.0
# An offset above this means that images are in 0 to 255.
_LEAST_CENTRE = 20.0
_TOLERANCE = 0.02


def expected_range(model: keras.Model) -> tuple[int, int] | None:
    """The range of images that a network's own first operations expect.

    The operations (layers, ops or code) are run on constant images. If they only shift and scale the
    values, this shows by how much.

    Args:
        model: a raw network.

    Returns:
        (0, 255), (-1, 1) or (0, 1); None if there is no scaling or it cannot be detected.
    """
    shape = tuple(model.input_shape[1:])
    if not has_graph(model) or len(filled_shape(model)) != 3:
        return None
    if not keras.backend.is_float_dtype(model.inputs[0].dtype):
        return (0, 255)
    made = _before_weights(model, _images(shape, (0.0, 1.0, 100.0)))[0]
    at_0, at_1, at_100 = made.astype("float64").reshape(3, -1)
    factor = at_1 - at_0
    if not np.allclose(at_100 - at_0, 100 * factor, rtol=1e-2, atol=1e-3):
        return None
    return _range_for(abs(float(np.median(factor))), float(np.median(at_0)))


def _range_for(factor, offset):
    """The range that `factor * x + offset` expects."""
    if factor == 0:
        return None
    if factor * 255 <= _WIDEST or (factor < 1.5 and -offset >= _LEAST_CENTRE):
        return (0, 255)
    if abs(offset - factor) <= _TOLERANCE * factor:
        return (-1, 1)
    unchanged = abs(factor - 1) <= _TOLERANCE and abs(offset) <= _TOLERANCE
    return None if unchanged else (0, 1)


def _images(shape, values):
    return np.stack([np.full(shape, value, "float32") for value in values])


def _before_weights(model, values):
    """The values before a network's first layer with weights, and whether it has none at all."""
    start = tensor = model.inputs[0]
    while tensor is not model.outputs[0]:
        following = [node for node in nodes(model) if any(each is tensor for each in node.input_tensors)]
        if len(following) != 1 or len(following[0].input_tensors) != 1:
            break
        operation = following[0].operation
        if isinstance(operation, keras.Model) and has_graph(operation):
            values, whole = _before_weights(operation, _between(start, tensor, values))
            if not whole:
                return values, False
            start = tensor = following[0].output_tensors[0]
        elif getattr(operation, "weights", ()) and not isinstance(operation, layers.Normalization):
            break
        else:
            tensor = following[0].output_tensors[0]
    return _between(start, tensor, values), tensor is model.outputs[0]


def _between(start, tensor, values):
    return values if start is tensor else answers(keras.Model(start, tensor), values)
