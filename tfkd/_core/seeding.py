"""Random numbers that follow from a seed for a while."""

import contextlib
import random
from collections.abc import Iterator


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Has what is built in the block follow from a seed, and puts the random state back at its end.

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
    """A seed that follows from Python's random state, as those of Keras's initializers do."""
    return random.randrange(2**31)
