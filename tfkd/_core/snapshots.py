"""Values of variables that are kept for later, and looking at a run without changing it."""

import contextlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from tfkd._core.replica_copies import copies


class Snapshot:
    """What variables are now, to be put back later.

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
        """Gives the variables their values back."""
        for copy, value in self._kept:
            copy.assign(value)


@contextlib.contextmanager
def preserving_state(variables: Iterable[keras.Variable]) -> Iterator[None]:
    """Puts variables back, when the block ends, to what they were."""
    snapshot = Snapshot(variables)
    try:
        yield
    finally:
        snapshot.restore()
