"""Saves and restores values of variables, to undo changes or to evaluate a run without changing it."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from tfkd._core.replica_copies import copies


class Snapshot:
    """The current values of variables, to be restored later.

    Args:
        variables: the variables, each restored in place.

    Example:
        >>> best = Snapshot(student.weights)
        >>> best.restore()
    """

    def __init__(self, variables: Iterable[keras.Variable]) -> None:
        self._kept = [(copy, copy.numpy()) for variable in variables for copy in copies(variable)]

    @property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return all(np.isfinite(value).all() for _, value in self._kept)

    def restore(self) -> None:
        """Restores the values of the variables."""
        for copy, value in self._kept:
            copy.assign(value)


@contextlib.contextmanager
def preserving_state(variables: Iterable[keras.Variable]) -> Iterator[None]:
    """Restores the values of variables at the end of the block."""
    snapshot = Snapshot(variables)
    try:
        yield
    finally:
        snapshot.restore()
