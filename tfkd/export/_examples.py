"""Reads inputs from arrays, dictionaries, data sets and generator functions."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tfkd._core.named_inputs import TOKENS
from tfkd.export._signature import IMAGE
from tfkd.tasks._language_model import IGNORED

# Inputs of a network: an array, or arrays by name.
Inputs = np.ndarray | dict[str, np.ndarray]
# The number of axes of one input, or of each by name if a network takes named inputs.
Ranks = int | Mapping[str, int]
# Maximum number of examples to take from a stream, which may be infinite.
_MOST = 2048


def as_inputs(data: Any, ranks: Ranks) -> Inputs:
    """Inputs `(n, ...)` from arrays or streams.

    Args:
        data: an array, or a dictionary of arrays by name; or a `tf.data.Dataset`, `keras.utils.PyDataset`,
            generator, or a function that returns one, whose elements are inputs, `(inputs, labels)` or a
            list of one input, single or in batches. From these the first 2048 inputs are taken. Rows of
            different lengths are padded with zeros.
        ranks: the number of axes of one input, or of each by name; other inputs in a dictionary are
            ignored.

    Raises:
        ValueError: if an input is missing, or elements have another number of axes.
    """
    if not _is_stream(data):
        return _arrays(data, ranks)
    parts, count = [], 0
    for element in _elements(data):
        parts.append(_batch(_arrays(_inputs_of(element, ranks), ranks), ranks))
        count += number_of(parts[-1])
        if count >= _MOST:
            break
    return tree.map_structure(lambda array: array[:_MOST], _joined(parts, 0)) if parts else np.zeros((0,))


def as_pair(data: Any, ranks: Ranks) -> tuple[Inputs, np.ndarray]:
    """Inputs and labels from a pair, or from a whole stream of pairs.

    Token labels of different lengths are padded with -100, which does not count.

    Args:
        data: `(inputs, labels)`, or a stream of such pairs as for `as_inputs`.
        ranks: as for `as_inputs`.

    Raises:
        ValueError: if the elements of a stream are not pairs, or as for `as_inputs`.
    """
    if not _is_stream(data):
        x, labels = data
        return _arrays(x, ranks), np.asarray(labels)
    inputs, labels = [], []
    for element in _elements(data):
        if not isinstance(element, tuple | list) or len(element) < 2:
            raise ValueError(
                "`evaluation_data` must have elements (inputs, labels). Received: inputs only."
            )
        x, y = _arrays(element[0], ranks), np.asarray(element[1])
        single = _is_single(x, ranks)
        inputs.append(_batch(x, ranks))
        labels.append(y[None] if single else y)
    return _joined(inputs, 0), _joined(labels, IGNORED)


def number_of(inputs: Inputs) -> int:
    """The number of examples."""
    return len(tree.flatten(inputs)[0])


def filled_up(array: np.ndarray, length: int, filler: int) -> np.ndarray:
    """The array, padded to a length along its second axis."""
    behind = [(0, 0), (0, length - array.shape[1]), *[(0, 0)] * (array.ndim - 2)]
    return np.pad(array, behind, constant_values=filler)


def _arrays(data, ranks):
    """The inputs that a network takes, as arrays in the structure of `ranks`."""
    if isinstance(ranks, int):
        return np.asarray(_only_one(data) if isinstance(data, Mapping) else data)
    if isinstance(data, Mapping):
        if len(ranks) == len(data) == 1:
            return {name: np.asarray(value) for name, value in zip(ranks, data.values(), strict=True)}
        if missing := [name for name in ranks if name not in data]:
            raise ValueError(
                f"Inputs must include {', '.join(ranks)}, by name. Received: {', '.join(map(str, data))}, "
                f"without {', '.join(missing)}."
            )
        return {name: np.asarray(data[name]) for name in ranks}
    if len(ranks) == 1:
        return {name: np.asarray(data) for name in ranks}
    if isinstance(data, tuple | list) and len(data) == len(ranks):
        return {name: np.asarray(each) for name, each in zip(ranks, data, strict=True)}
    raise ValueError(
        f"Inputs must be a dictionary of {', '.join(ranks)}, like those from tfkd.text.Tokenizer. "
        f"Received: {type(data)}."
    )


def _only_one(data):
    """The array in a dictionary for a network with one nameless input."""
    usual = [name for name in (IMAGE, TOKENS) if name in data]
    if len(data) != 1 and not usual:
        raise ValueError(
            f"Inputs must be a single array for a model with one input. Received: {', '.join(data)}."
        )
    return data[usual[0]] if usual else next(iter(data.values()))


def _batch(inputs, ranks):
    """The inputs of an element as a batch."""
    for array, rank in zip(tree.flatten(inputs), _ranks(ranks), strict=True):
        if array.ndim not in (rank, rank + 1):
            raise ValueError(
                f"Elements of a data set or generator must be inputs with {rank} axes, or batches of them. "
                f"Received: shape {array.shape}, dtype {array.dtype}."
            )
    return tree.map_structure(lambda a: a[None], inputs) if _is_single(inputs, ranks) else inputs


def _is_single(inputs, ranks):
    return tree.flatten(inputs)[0].ndim == _ranks(ranks)[0]


def _ranks(ranks):
    # As Keras flattens dictionaries.
    return [ranks] if isinstance(ranks, int) else tree.flatten(dict(ranks))


def _joined(parts, filler):
    """Concatenates batches; rows are padded to the longest."""

    def joined(*arrays):
        if arrays[0].ndim > 1 and len({array.shape[1] for array in arrays}) > 1:
            longest = max(array.shape[1] for array in arrays)
            arrays = [filled_up(array, longest, filler) for array in arrays]
        return np.concatenate(arrays)

    return tree.map_structure(joined, *parts)


def _is_stream(data):
    known = tf.data.Dataset, keras.utils.PyDataset
    is_array = tf.is_tensor(data) or isinstance(data, np.ndarray | list | tuple | Mapping)
    return callable(data) or isinstance(data, known) or (isinstance(data, Iterable) and not is_array)


def _elements(data: Any) -> Iterable[Any]:
    if isinstance(data, keras.utils.PyDataset):
        numbers = itertools.count() if data.num_batches is None else range(data.num_batches)
        return (data[i] for i in numbers)
    made: Any = data() if callable(data) else data
    if not isinstance(made, Iterable):
        raise TypeError(f"A generator function must return a generator. Received: {made!r}.")
    return made


def _inputs_of(element, ranks):
    """The inputs in an element: the first item of a pair or list, unless it is a list of all inputs."""
    if not isinstance(element, tuple | list):
        return element
    several = isinstance(ranks, Mapping) and len(ranks) > 1
    whole = several and len(element) == len(ranks) and not isinstance(element[0], Mapping)
    return element if whole else element[0]
