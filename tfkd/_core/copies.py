"""New objects like given ones."""

from typing import Any, Protocol, Self, TypeVar


class Configured(Protocol):
    """Whatever Keras can make again from a configuration."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self: ...

    def get_config(self) -> dict[str, Any]: ...


AnyConfigured = TypeVar("AnyConfigured", bound=Configured)


def clone(original: AnyConfigured) -> AnyConfigured:
    """A new object of the same class and configuration, without the original's state."""
    return type(original).from_config(original.get_config())
