"""Names of what users choose by name: derived from packages, with close matches in error messages."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TypeVar

Value = TypeVar("Value")


def snake_case(name: str) -> str:
    """`DeadLeaves` -> `dead_leaves`, `DFAD` -> `dfad`, `CLSHint` -> `cls_hint`, `PSAQViT` -> `psaq_vit`."""
    one_word = name.replace("ViT", "Vit")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", one_word).lower()


def numbered(names: Sequence[str]) -> list[str]:
    """The names, with numbers appended to repeated ones: `["a", "a"]` -> `["a", "a_1"]`."""
    return [
        f"{name}_{names[:i].count(name)}" if name in names[:i] else name for i, name in enumerate(names)
    ]


def members(
    module: ModuleType, base: type, keep: Callable[[type], bool] = lambda cls: True
) -> dict[str, type]:
    """The public subclasses of `base` in a package, by snake-case name.

    Args:
        module: a package with `__all__`.
        base: the class that they derive from, which is not included itself.
        keep: returns whether to include a class.

    Returns:
        A dictionary from names to classes.
    """
    public = (getattr(module, name) for name in module.__all__)
    return {
        snake_case(cls.__name__): cls
        for cls in public
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base and keep(cls)
    }


def lookup(known: Mapping[str, Value], name: str, what: str) -> Value:
    """`known[name]`, with a helpful error.

    Args:
        known: the values, by name.
        name: the name to look up.
        what: what the names refer to, for the message, such as "recipe".

    Returns:
        The value.

    Raises:
        ValueError: with close matches, if the name is not known.
    """
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise ValueError(f"Unknown {what} {name!r}. {hint}Known: {', '.join(sorted(known))}.")
    return known[name]
