"""Columns of a cache: arrays with one row per example, stored in shards of consecutive rows."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Arrays = Mapping[str, Any]


class FixedRows:
    """Rows of equal shape.

    Args:
        name: the name of the array in a shard.
        shape: the shape of a row.
        dtype: the dtype of the values.
    """

    def __init__(self, name: str, shape: tuple[int | None, ...], dtype: np.dtype | str) -> None:
        self.name, self.shape, self.dtype = name, tuple(shape), np.dtype(dtype)

    def joined(self, pieces: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The array of a shard, joined from pieces of batches `(rows, ...)`.

        Raises:
            ValueError: if rows have another shape.
        """
        for piece in pieces:
            if piece.shape[1:] != self.shape:
                raise ValueError(
                    "`dataset` must give outputs of one size. Received: outputs of shape "
                    f"{piece.shape[1:]} after those of shape {self.shape}. Pad all batches alike."
                )
        return {self.name: np.concatenate(pieces).astype(self.dtype, copy=False)}

    def check(self, shard: Arrays, rows: int) -> None:
        """Raises ValueError if a shard from a file does not hold this number of rows."""
        _check(shard, self.name, self.dtype, (rows, *self.shape))

    def read(self, shard: Arrays, places: np.ndarray) -> np.ndarray:
        """The rows at these positions of a shard."""
        return shard[self.name][places]

    def batch(self, rows: Sequence[np.ndarray], lengths: Sequence[int], now: int) -> np.ndarray:
        """Rows from `read`, stacked to a batch."""
        return np.stack(rows)


class RaggedRows(FixedRows):
    """Rows of different shapes, for example from batches padded to different lengths.

    Args:
        name: the name of the array in a shard, in which all rows are concatenated.
        shape: the shape of a row; None for axes that differ.
        dtype: the dtype of the values.
    """

    def joined(self, pieces: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        values = np.concatenate([piece.ravel() for piece in pieces]).astype(self.dtype, copy=False)
        shapes = [np.tile(np.array(piece.shape[1:], "int64"), (len(piece), 1)) for piece in pieces]
        return {self.name: values, self._shapes: np.concatenate(shapes)}

    @property
    def _shapes(self):
        return f"{self.name}.shapes"

    def check(self, shard: Arrays, rows: int) -> None:
        _check(shard, self._shapes, np.dtype("int64"), (rows, len(self.shape)))
        shapes = shard[self._shapes]
        if (shapes < 0).any():
            raise ValueError(f"array {self._shapes!r} has shapes below 0")
        _check(shard, self.name, self.dtype, (int(shapes.prod(axis=1).sum()),))

    def read(self, shard: Arrays, places: np.ndarray) -> list[np.ndarray]:
        shapes = shard[self._shapes]
        starts = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
        return [shard[self.name][starts[i] : starts[i + 1]].reshape(shapes[i]) for i in places]

    def batch(self, rows: Sequence[np.ndarray], lengths: Sequence[int], now: int) -> np.ndarray:
        """Rows from batches of other lengths, brought to the length `now` and stacked to a batch.

        Raises:
            ValueError: if their shapes do not depend on the lengths as expected.
        """
        axes = [axis for axis, size in enumerate(self.shape) if size is None]
        rows = [_at_length(row, axes, then, now) for row, then in zip(rows, lengths, strict=True)]
        shapes = sorted({row.shape for row in rows})
        if len(shapes) > 1:
            raise ValueError(
                "The batches are padded to other lengths than when the teacher's outputs were computed, "
                f"but the outputs, of shapes {shapes}, have no axis of tokens to adjust. Batch the data "
                "set as before; batch again only after tfkd.cache_teacher."
            )
        return np.stack(rows)


def _check(shard, name, dtype, shape):
    array = shard.get(name)
    if array is None or array.dtype != dtype or array.shape != shape:
        found = "nothing" if array is None else f"{array.dtype} {array.shape}"
        raise ValueError(f"array {name!r} must be {dtype} {shape}, but is {found}")


def _at_length(row, axes, then, now):
    """A row with its token axes cut or zero-padded to another length."""
    if then == now or not then:
        return row
    axes = [axis for axis in axes if row.shape[axis] == then]
    row = row[tuple(slice(now) if axis in axes else slice(None) for axis in range(row.ndim))]
    behind = [(0, max(now - then, 0)) if axis in axes else (0, 0) for axis in range(row.ndim)]
    return np.pad(row, behind)
