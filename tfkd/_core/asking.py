"""Runs a model on many inputs: compiled, and in batches that fit in memory."""

import dataclasses
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tfkd._core import progress

# The memory that one batch may take inside a network, and the largest batch size.
PART_BYTES = 2**28
MOST_AT_ONCE = 256
# While an operation runs, memory holds its input, its output, a skip connection and scratch space.
_HELD_AT_ONCE = 4


@dataclasses.dataclass(frozen=True)
class _Compiled:
    """A model compiled for one input shape, and the size in bytes of its largest tensor per example."""

    function: Callable[..., Any]
    largest: int


# Functions hold weak references to their models, so that this cache keeps no model alive.
_compiled: weakref.WeakKeyDictionary[Any, dict[str, _Compiled]] = weakref.WeakKeyDictionary()


def answers(model: Any, inputs: Any, most: int = MOST_AT_ONCE) -> Any:
    """The outputs of a model in inference mode, like `model.predict`, in batches of bounded memory.

    The model is traced once for each input shape. Later changes to it are not seen, except new values of
    its variables.

    Args:
        model: a Keras model, of Keras 3 or tf_keras, or another callable with an argument `training`.
        inputs: an array `(n, ...)`, or several in the structure of the model's inputs; n at least 1.
        most: the largest batch size.

    Returns:
        An array `(n, ...)`, or several in the structure of the model's outputs.
    """
    function = _compiled_for(model, _as_arrays(inputs)).function
    answered, count = [], len(tree.flatten(inputs)[0])
    with progress.work(f"running a network on {count:,} inputs"):
        for part in in_parts(model, inputs, most):
            answered.append(tree.map_structure(np.asarray, function(part)))
    return tree.map_structure(lambda *arrays: np.concatenate(arrays), *answered)


def forget(model: Any) -> None:
    """Drops a model's traces after a change that they do not follow; the next call traces it again."""
    _compiled.pop(model, None)


def in_parts(model: Any, inputs: Any, most: int = MOST_AT_ONCE) -> Iterator[Any]:
    """Splits inputs into batches of about equal size that each need at most 256 MiB inside a model.

    Args:
        model: as for `answers`.
        inputs: as for `answers`.
        most: the largest batch size.

    Returns:
        Tensors in the structure of the inputs; a batch has at least one example, even if that needs more
        memory.
    """
    inputs = _as_arrays(inputs)
    n, size = len(tree.flatten(inputs)[0]), fitting(inputs, _compiled_for(model, inputs).largest, most)
    ends = np.linspace(0, n, -(-n // size) + 1).round().astype(int)

    def part(start, stop):
        return tree.map_structure(lambda array: tf.convert_to_tensor(array[start:stop]), inputs)

    # A generator expression: the model is traced above, now, and not when the first batch is drawn.
    return (part(start, stop) for start, stop in itertools.pairwise(ends.tolist()))


def _as_arrays(inputs):
    def as_array(values):
        array = np.asarray(values)
        return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array

    return tree.map_structure(as_array, inputs)


def fitting(inputs: Any, largest: int, most: int = MOST_AT_ONCE) -> int:
    """The number of these inputs that can go through a graph at once.

    Args:
        inputs: an array `(n, ...)`, or several.
        largest: the size in bytes of the graph's largest tensor, per example.
        most: the largest batch size.
    """
    entering = sum(array[:1].nbytes for array in tree.flatten(inputs))
    return max(1, min(most, PART_BYTES // max(1, entering + _HELD_AT_ONCE * largest)))


def _compiled_for(model, inputs):
    specs = tree.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), inputs)
    of_model, key = _compiled.setdefault(model, {}), str(specs)
    if key not in of_model:
        of_model[key] = _compile(weakref.ref(model), specs)
    return of_model[key]


def _compile(reference, specs):
    @tf.function(autograph=False)
    def function(x):
        return reference()(x, training=False)

    traced = function.get_concrete_function(specs)
    return _Compiled(function, largest_tensor(traced.graph))


def largest_tensor(graph: tf.Graph) -> int:
    """The size in bytes, per example, of the largest tensor in a graph that has a batch axis."""
    tensors = (tensor for operation in graph.get_operations() for tensor in operation.outputs)
    return max(map(_bytes_of_example, tensors), default=0)


def _bytes_of_example(tensor):
    shape = tensor.shape
    if not shape.rank or shape[0] is not None:
        return 0
    return tensor.dtype.size * int(np.prod([side or 1 for side in shape[1:]]))
