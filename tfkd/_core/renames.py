"""Old names that keep working for one more version, with a warning that gives the new name."""

import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def renamed(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a module some of whose names have changed.

    Args:
        module: the module's `__name__`.
        names: new names by old name: a name in the same module, or a full path such as "tfkd.tasks.Task"
            if the object has moved elsewhere.

    Returns:
        The function to assign to the module's `__getattr__`.

    Example:
        >>> __getattr__ = renamed(__name__, {"sgd_of_the_papers": "sgd_with_coupled_decay"})
    """

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = names[name].rpartition(".")
        place = place or module
        warn_renamed(f"{module}.{name}", f"{place}.{new}")
        return getattr(importlib.import_module(place), new)

    return __getattr__


def warn_renamed(old: str, new: str) -> None:
    """Warns, at the caller's line, that a name has changed."""
    warnings.warn(
        f"{old} is now called {new}; the old name will be removed in the next version.",
        DeprecationWarning,
        stacklevel=3,
    )


def renamed_argument(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator that accepts the keyword `old` for the argument `new`.

    Raises:
        TypeError: on use, if both are given.

    Example:
        >>> @renamed_argument("path", "source")
        ... def load_teacher(source): ...
    """

    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            if old in kwargs:
                warn_renamed(f"The argument `{old}` of {function.__name__}", f"`{new}`")
                if new in kwargs:
                    raise TypeError(f"{function.__name__} was given both `{new}` and its old name `{old}`.")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
