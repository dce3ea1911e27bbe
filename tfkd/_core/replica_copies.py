"""Copies of variables that replicas of `tf.distribute` keep for themselves."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np
import tensorflow as tf


def copies(variable: keras.Variable) -> Sequence[tf.Variable]:
    """A variable's copies on the replicas of this process; without a strategy the one that there is."""
    value = variable.value
    return value.values if isinstance(value, tf.distribute.DistributedValues) else (value,)


def differing(variables: Iterable[keras.Variable]) -> dict[int, np.ndarray]:
    """The values of all copies, `(replicas, ...)`, by index, of those variables whose copies differ."""
    found = {}
    for i, variable in enumerate(variables):
        values = [copy.numpy() for copy in copies(variable)]
        if any(not np.array_equal(value, values[0], equal_nan=True) for value in values[1:]):
            found[i] = np.stack(values)
    return found


def assign_copies(variable: keras.Variable, values: np.ndarray) -> None:
    """Gives each copy the value it had; with fewer or more of them than there were, all the first one's."""
    held = copies(variable)
    of_each = len(values) == len(held)
    for i, copy in enumerate(held):
        copy.assign(values[i] if of_each else values[0])
