"""Inputs from arrays, data sets and generator functions."""

import itertools
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

# What is taken of a stream, which may have no end.
_MOST = 2048


def as_inputs(data: Any, rank: int) -> np.ndarray:
    """Inputs `(n, ...)` from whatever holds them.

    Args:
        data: an array; or a `tf.data.Dataset`, `keras.utils.PyDataset`, generator, or a function that
            returns one, whose elements are inputs, `(inputs, labels)` or a list of one input, single or in
            batches. Of these the first 2048 inputs are taken.
        rank: axes of one input.
    """
    if not _is_stream(data):
        return np.asarray(data)
    parts, count = [], 0
    for element in _elements(data):
        part = np.asarray(_inputs_of(element))
        if part.ndim not in (rank, rank + 1):
            raise ValueError(
                f"Elements of a data set or generator must be inputs of {rank} axes, or batches of them. "
                f"Received: shape {part.shape}, dtype {part.dtype}."
            )
        parts.append(part[None] if part.ndim == rank else part)
        count += len(parts[-1])
        if count >= _MOST:
            break
    return np.concatenate(parts)[:_MOST] if parts else np.zeros((0,))


def as_pair(data: Any, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels from a pair of arrays, or a stream of pairs, all of it.

    Args:
        data: `(inputs, labels)`, or what `as_inputs` takes, of pairs.
        rank: axes of one input.

    Raises:
        ValueError: if the elements of a stream are not pairs.
    """
    if not _is_stream(data):
        x, labels = data
        return np.asarray(x), np.asarray(labels)
    inputs, labels = [], []
    for element in _elements(data):
        if not isinstance(element, tuple | list) or len(element) < 2:
            raise ValueError(
                "`evaluation_data` must have elements (inputs, labels). Received: inputs alone."
            )
        x, y = np.asarray(element[0]), np.asarray(element[1])
        inputs.append(x[None] if x.ndim == rank else x)
        labels.append(y[None] if x.ndim == rank else y)
    return np.concatenate(inputs), np.concatenate(labels)


def _is_stream(data):
    known = tf.data.Dataset, keras.utils.PyDataset
    is_array = tf.is_tensor(data) or isinstance(data, np.ndarray | list | tuple)
    return callable(data) or isinstance(data, known) or (isinstance(data, Iterable) and not is_array)


def _elements(data: Any) -> Iterable[Any]:
    if isinstance(data, keras.utils.PyDataset):
        numbers = itertools.count() if data.num_batches is None else range(data.num_batches)
        return (data[i] for i in numbers)
    made: Any = data() if callable(data) else data
    if not isinstance(made, Iterable):
        raise TypeError(f"A generator function must return a generator. Received: {made!r}.")
    return made


def _inputs_of(element):
    """The inputs of an element: the first of a pair or list, the only one of a dictionary."""
    first = element[0] if isinstance(element, tuple | list) else element
    return tree.flatten(first)[0] if isinstance(first, dict) else first
