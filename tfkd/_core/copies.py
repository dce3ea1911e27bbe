"""New objects like given ones."""

from typing import TypeVar

Configured = TypeVar("Configured")


def clone(original: Configured) -> Configured:
    """A new object of the same class and configuration, without the original's state."""
    return type(original).from_config(original.get_config())
