"""Processes a batch that is too large for memory in parts, in a graph loop."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from keras import ops, tree

from tfkd.datafree._inputs import equal_parts
from tfkd.datafree._loops import looped, written_out


def concatenated(function: Callable, batch: tuple, parts: int) -> Any:
    """Applies a function to the parts of a batch, and joins its results along the first axis.

    Memory holds the intermediate values of one part at a time, and the graph has the size of one part.

    Args:
        function: takes the items of a part; returns tensors in any structure, whose first axis has as many
            entries as the part.
        batch: its arguments for the whole batch: tensors in any structure, with equal first axes; None
            stays None.
        parts: the number of parts, of about equal size; at most the number of rows.
    """
    if parts == 1:
        return function(*batch)
    joined = []
    for stacked in _stacks(batch, parts):
        if (done := _one_by_one(function, stacked)) is not None:
            joined += done
            continue
        n = _rows(stacked)
        of_part, packed = _traced(function, stacked)
        arrays = [
            tf.TensorArray(value.dtype, n, element_shape=value.shape)
            for value in of_part.structured_outputs
        ]
        arrays = looped(n, functools.partial(_write_part, of_part), arrays)
        whole = [array.stack() for array in arrays]
        joined.append(packed([ops.reshape(each, (-1, *each.shape[2:])) for each in whole]))
    return _mapped(lambda *values: ops.concatenate(values), *joined)


def summed(function: Callable, batch: tuple, parts: int) -> Any:
    """Applies a function to the parts of a batch, and sums its results.

    Args:
        function: takes the items of a part; returns tensors or None in any structure.
        batch: its arguments for the whole batch, as for `concatenated`.
        parts: the number of parts, a divisor of the number of rows.
    """
    if parts == 1:
        return function(*batch)
    (stacked,) = _stacks(batch, parts)
    if (done := _one_by_one(function, stacked)) is not None:
        return _mapped(lambda *values: tf.add_n(values), *done)
    of_part, packed = _traced(function, stacked)
    zeros = [tf.zeros(value.shape, value.dtype) for value in of_part.structured_outputs]
    return packed(looped(_rows(stacked), functools.partial(_add_part, of_part), zeros))


def _stacks(batch, parts) -> Iterator[tuple]:
    """Parts of equal size, stacked: one stack, or two if sizes differ by one."""
    rows = _rows(batch)
    sizes = equal_parts(rows, min(rows, parts))
    start = 0
    for size in sorted(set(sizes)):
        count = sizes.count(size)
        yield _mapped(functools.partial(_stacked, start=start, size=size, count=count), batch)
        start += size * count


def _stacked(whole, start, size, count):
    return ops.reshape(whole[start : start + size * count], (count, size, *whole.shape[1:]))


def _one_by_one(function, stacked):
    """The results for all parts, computed one after the other; None if a graph loop can be used."""
    if not written_out():
        return None
    done = []
    for i in range(_rows(stacked)):
        # In a graph too, each part waits for the one before it.
        with tf.control_dependencies(_present(done[-1:])):
            done.append(function(*_part(stacked, i)))
    return done


def _traced(function, stacked):
    """The traced function of a part's index, and a function that packs its flat outputs."""
    structure = None

    def of_part(i):
        nonlocal structure
        structure = function(*_part(stacked, i))
        return [tf.convert_to_tensor(value) for value in _present(structure)]

    traced = tf.function(of_part, autograph=False).get_concrete_function(tf.TensorSpec((), tf.int32))

    def packed(values):
        left = iter(values)
        return _mapped(lambda _: next(left), structure)

    return traced, packed


def _write_part(of_part, i, arrays):
    return [array.write(i, value) for array, value in zip(arrays, of_part(i), strict=True)]


def _add_part(of_part, i, totals):
    return [total + value for total, value in zip(totals, of_part(i), strict=True)]


def _rows(batch):
    return _present(batch)[0].shape[0]


def _part(stacked, i):
    return _mapped(lambda values: values[i], stacked)


def _present(structure):
    return [value for value in tree.flatten(structure) if value is not None]


def _mapped(function, *structures):
    """Maps a function over the tensors of equal structures; None stays None."""
    return tree.map_structure(lambda *values: None if values[0] is None else function(*values), *structures)
