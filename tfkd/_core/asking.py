"""Asks a model about many inputs at once: compiled, and in parts that memory holds."""

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

# What a part may take inside a network, and how many examples it has at most.
PART_BYTES = 2**28
MOST_AT_ONCE = 256
# While an operation runs, what it reads, what it writes, a skip connection and its scratch space are there.
_HELD_AT_ONCE = 4


@dataclasses.dataclass(frozen=True)
class _Compiled:
    """A model's function of inputs of one shape, and the bytes of an example's largest tensor in it."""

    function: Callable[..., Any]
    largest: int


# A function refers to its model weakly, so that neither it nor this keeps models alive.
_compiled: weakref.WeakKeyDictionary[Any, dict[str, _Compiled]] = weakref.WeakKeyDictionary()


def answers(model: Any, inputs: Any, most: int = MOST_AT_ONCE) -> Any:
    """What a model answers in inference mode, like `model.predict`, in parts of bounded memory.

    The model is traced once for each shape of inputs; what is changed of it later, other than values of
    variables, is not seen.

    Args:
        model: a Keras model, of Keras 3 or tf_keras, or another callable with an argument `training`.
        inputs: an array `(n, ...)`, or several in the structure of the model's inputs; n at least 1.
        most: examples in a part at most.

    Returns:
        An array `(n, ...)`, or several in the structure of the model's outputs.
    """
    function = _compiled_for(model, _as_arrays(inputs)).function
    answered, count = [], len(tree.flatten(inputs)[0])
    with progress.work(f"asking a network about {count:,} inputs"):
        for part in in_parts(model, inputs, most):
            answered.append(tree.map_structure(np.asarray, function(part)))
    return tree.map_structure(lambda *arrays: np.concatenate(arrays), *answered)


def forget(model: Any) -> None:
    """Has a model traced again, since something of it has changed that a trace holds."""
    _compiled.pop(model, None)


def in_parts(model: Any, inputs: Any, most: int = MOST_AT_ONCE) -> Iterator[Any]:
    """Inputs in parts, as equal as can be, that go through a model in 256 MiB of memory each.

    Args:
        model: as for `answers`.
        inputs: likewise.
        most: examples in a part at most.

    Returns:
        Tensors in the structure of the inputs; one example where even that takes more.
    """
    inputs = _as_arrays(inputs)
    n, size = len(tree.flatten(inputs)[0]), fitting(inputs, _compiled_for(model, inputs).largest, most)
    ends = np.linspace(0, n, -(-n // size) + 1).round().astype(int)

    def part(start, stop):
        return tree.map_structure(lambda array: tf.convert_to_tensor(array[start:stop]), inputs)

    # The model is traced above, as it is now, and not when the first part is asked for.
    return (part(start, stop) for start, stop in itertools.pairwise(ends.tolist()))


def _as_arrays(inputs):
    def as_array(values):
        array = np.asarray(values)
        return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array

    return tree.map_structure(as_array, inputs)


def fitting(inputs: Any, largest: int, most: int = MOST_AT_ONCE) -> int:
    """How many of these inputs go through a graph at once.

    Args:
        inputs: an array `(n, ...)`, or several.
        largest: the bytes of the graph's largest tensor of one example.
        most: examples at most.
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
    """The bytes of the largest tensor of one example in a graph; weights, which have no batch, aside."""
    tensors = (tensor for operation in graph.get_operations() for tensor in operation.outputs)
    return max(map(_bytes_of_example, tensors), default=0)


def _bytes_of_example(tensor):
    shape = tensor.shape
    if not shape.rank or shape[0] is not None:
        return 0
    return tensor.dtype.size * int(np.prod([side or 1 for side in shape[1:]]))
