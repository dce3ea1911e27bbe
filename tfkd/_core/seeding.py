"""Temporarily seeds Python's random numbers."""

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Makes everything built in the block depend only on a seed, and restores the random state afterwards.

    Keras draws the seeds of initializers and dropout layers from Python's generator.

    Args:
        seed: an integer of at least 0.

    Returns:
        A context manager.

    Example:
        >>> with seeded(1):
        ...     student = make_student()
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def drawn_seed() -> int:
    """A seed drawn from Python's random state, as Keras does for initializers."""
    return random.randrange(2**31)
