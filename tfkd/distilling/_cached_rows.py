"""Where cached outputs are kept: one row for each example, in memory or in files that are read by parts."""

import os

import numpy as np


class FixedRows:
    """Rows of one shape.

    Args:
        path: of a file without its ending; None for memory.
        shape: of all rows together, `(examples, ...)`.
        dtype: of the values.
        done: how many rows the file holds; None to begin a new one.
    """

    def __init__(self, path: str | None, shape: tuple[int, ...], dtype: str, done: int | None) -> None:
        if path is None:
            self._rows = np.zeros(shape, dtype)
        elif done is None:
            self._rows = np.lib.format.open_memmap(f"{path}.npy", mode="w+", dtype=dtype, shape=shape)
        else:
            mode = "r" if done == shape[0] else "r+"
            self._rows = np.lib.format.open_memmap(f"{path}.npy", mode=mode)
        self.dtype = self._rows.dtype

    def __len__(self) -> int:
        return len(self._rows)

    def write(self, first: int, values: np.ndarray) -> None:
        """Writes rows, from the one of number `first` on.

        Raises:
            ValueError: for rows of another shape.
        """
        if self._rows.shape[1:] != values.shape[1:]:
            raise ValueError(
                "`dataset` must give outputs of one size. Received: outputs of shape "
                f"{values.shape[1:]}, before of {self._rows.shape[1:]}. Pad all batches alike."
            )
        self._rows[first : first + len(values)] = values

    def read(self, index: np.ndarray) -> np.ndarray:
        """The rows of these numbers."""
        return self._rows[index]

    def flush(self) -> None:
        """Has everything that was written be in the file."""
        if isinstance(self._rows, np.memmap):
            self._rows.flush()


class RaggedRows:
    """Rows that have a shape each, such as those of batches that are padded to their own length.

    Args:
        path: of files without their endings; None for memory.
        examples: how many rows there will be.
        rank: how many axes a row has.
        dtype: of the values.
        done: how many rows the files hold; None to begin new ones. Rows are written in order.
    """

    def __init__(
        self, path: str | None, examples: int, rank: int, dtype: np.dtype, done: int | None
    ) -> None:
        self.dtype = np.dtype(dtype)
        self._shapes = FixedRows(path and f"{path}.shapes", (examples, rank), "int64", done)
        self._path = path and f"{path}.values"
        self._in_memory: list[np.ndarray] = []
        self._in_file: np.ndarray | None = None
        if self._path and (done is None or done < examples):
            # What was written after the last row that counts is written again.
            with open(self._path, "wb" if done is None else "r+b") as file:
                file.truncate(self._starts(done or 0)[-1] * self.dtype.itemsize)

    def _starts(self, rows):
        """Where each of the first rows begins in the file, and where the last one ends."""
        sizes = self._shapes.read(np.arange(rows)).prod(axis=1)
        return np.concatenate([[0], np.cumsum(sizes, dtype="int64")])

    def write(self, first: int, values: np.ndarray) -> None:
        """Writes rows of one batch, from the one of number `first` on, behind those before."""
        self._shapes.write(first, np.broadcast_to(values.shape[1:], (len(values), values.ndim - 1)))
        if self._path is None:
            # Copies, so that rows do not keep their batch in memory.
            self._in_memory += [row.copy() for row in values]
            return
        with open(self._path, "ab") as file:
            file.write(np.ascontiguousarray(values).tobytes())

    def read(self, index: np.ndarray) -> list[np.ndarray]:
        """The rows of these numbers, once all are written."""
        if self._path is None:
            return [self._in_memory[i] for i in index]
        if self._in_file is None:
            self._all_starts = self._starts(len(self._shapes))
            self._in_file = np.memmap(self._path, self.dtype, "r") if self._all_starts[-1] else np.zeros(0)
        starts, shapes = self._all_starts, self._shapes.read(index)
        rows = zip(index, shapes, strict=True)
        return [self._in_file[starts[i] : starts[i + 1]].reshape(shape) for i, shape in rows]

    def flush(self) -> None:
        """Has everything that was written be in the files."""
        self._shapes.flush()
        if self._path:
            with open(self._path, "r+b") as file:
                os.fsync(file.fileno())
