"""The registry of schemes; to add one, write a class and register it here."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfkd._core import names
from tfkd.pipelines._chained_schemes import Assistants, Generations, Noisy
from tfkd.pipelines._scheme import Scheme
from tfkd.pipelines._staged_schemes import Distil, EarlyStopped, EnsembleScheme, Mutual, SelfTaught
from tfkd.pipelines._typed_options import typed_options

SCHEMES: dict[str, type[Scheme]] = {
    "distil": Distil,
    "mutual": Mutual,
    "self": SelfTaught,
    "ensemble": EnsembleScheme,
    "assistants": Assistants,
    "generations": Generations,
    "eskd": EarlyStopped,
    "noisy_student": Noisy,
}


def scheme_named(name: str, options: Sequence[str] | Mapping[str, Any] | None = None) -> Scheme:
    """A scheme by name.

    Args:
        name: one of `SCHEMES`.
        options: options by name, or `key=value` strings with lists separated by commas; None for none.

    Raises:
        ValueError: for an unknown name or option, with close matches, or a value out of range.
    """
    cls = names.lookup(SCHEMES, name, "scheme")
    if options is None or isinstance(options, Mapping):
        return cls(**(options or {}))
    return cls(**typed_options(cls.options(), options, f"scheme {name!r}", "scheme_options"))


def options_in_words() -> str:
    """The options of each scheme, as text."""
    known = {name: ", ".join(cls.options()) for name, cls in SCHEMES.items() if cls.options()}
    return "; ".join(f"{name}: {options}" for name, options in known.items())
