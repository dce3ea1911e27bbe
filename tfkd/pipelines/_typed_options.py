"""Options typed as `key=value`, parsed to the types that their dataclass declares."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfkd._core import names, untrusted
from tfkd._core.options import Option
from tfkd.datafree._parts import Priors


def typed_options(
    known: Mapping[str, Option], typed: Sequence[str], what: str, argument: str
) -> dict[str, Any]:
    """The values of typed options.

    Args:
        known: the known options, as listed by `Options.options()`.
        typed: `key=value` strings; lists are separated by commas, tables are `.npy` files.
        what: the owner of the options, for messages, such as "recipe 'dfad'".
        argument: name of the argument with `typed`, for messages.

    Returns:
        Values by name.

    Raises:
        ValueError: for an unknown option, with close matches, or a value of the wrong type.
    """
    kinds = {key: option.type for key, option in known.items() if option.type in _PARSERS}
    values = {}
    for each in typed:
        key, equals, text = each.partition("=")
        if not equals:
            raise ValueError(f"`{argument}` must be key=value. Received: {each!r}.")
        kind = names.lookup(kinds, key.strip(), f"option of {what}")
        values[key.strip()] = _parse(key.strip(), kind, text.strip(), argument)
    return values


def _parse(name, kind, text, argument):
    parse, wanted = _PARSERS[kind]
    try:
        return parse(text)
    except untrusted.RefusedFile:
        raise
    except (KeyError, ValueError, TypeError, OSError):
        raise ValueError(f"`{argument}`: {name} must be {wanted}. Received: {text!r}.") from None


def _table(path):
    """A table of numbers from a file."""
    untrusted.check_array(path, f"`recipe_options`: {path!r}")
    return tuple(tuple(row) for row in np.load(path, allow_pickle=False).tolist())


def _numbers(text):
    return tuple(float(value) for value in text.split(","))


def _one_or_more(text):
    values = _numbers(text)
    return values[0] if len(values) == 1 else values


# Parsers by the type of an option, and the expected form for error messages.
def _names(text):
    return tuple(text.split(","))


_PARSERS = {
    bool: (lambda text: {"true": True, "false": False}[text.lower()], "of type bool"),
    int: (int, "of type int"),
    float: (float, "of type float"),
    str: (str, "of type str"),
    tuple[str, ...]: (_names, "names separated by commas"),
    Priors: (_names, "names separated by commas"),
    tuple[float, ...]: (_numbers, "numbers separated by commas"),
    float | tuple[float, ...]: (_one_or_more, "a number, or one per channel separated by commas"),
    Sequence[Sequence[float]]: (_table, "a .npy file with a row for each class"),
}
