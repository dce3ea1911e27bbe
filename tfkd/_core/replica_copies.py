"""The copies of variables that each replica of `tf.distribute` keeps."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf


def copies(variable: keras.Variable) -> Sequence[tf.Variable]:
    """A variable's copies on the replicas of this process; its only value without a strategy."""
    value = variable.value
    return value.values if isinstance(value, tf.distribute.DistributedValues) else (value,)


def differing(variables: Iterable[keras.Variable]) -> dict[int, np.ndarray]:
    """The values `(replicas, ...)` of the variables whose copies differ, by their index."""
    found = {}
    for i, variable in enumerate(variables):
        values = [copy.numpy() for copy in copies(variable)]
        if any(not np.array_equal(value, values[0], equal_nan=True) for value in values[1:]):
            found[i] = np.stack(values)
    return found


def assign_copies(variable: keras.Variable, values: np.ndarray) -> None:
    """Restores each copy's value; if the number of copies has changed, all get the first value."""
    held = copies(variable)
    of_each = len(values) == len(held)
    for i, copy in enumerate(held):
        copy.assign(values[i] if of_each else values[0])
