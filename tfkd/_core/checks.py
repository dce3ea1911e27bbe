"""Checks of numbers and choices that users pass.

A bad value raises a `ValueError` that names the argument, what was expected and what was received. The
checks return the value, so that a constructor can check and store it in one line.
"""

import math
import numbers
from collections.abc import Iterable


def check_int(name: str, value: int, least: int = 1, most: int | None = None, remedy: str = "") -> int:
    """Checks an integer; True and False do not count as integers.

    Args:
        name: the argument's name.
        value: what the user passed.
        least: the smallest allowed value.
        most: the largest allowed value; None for no limit.
        remedy: a sentence for the end of the message.

    Returns:
        The value as an int.

    Raises:
        ValueError: if it is not an integer, or out of range.

    Example:
        >>> check_int("every", 5)
        5
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        expected = f"of at least {least}" if most is None else f"from {least} to {most}"
        _refuse(name, value, f"an integer {expected}", remedy)
    return int(value)


def check_number(
    name: str,
    value: float,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    remedy: str = "",
) -> float:
    """Checks a finite number; True and False do not count as numbers.

    Args:
        name: the argument's name.
        value: what the user passed.
        above: an exclusive lower bound; or
        least: the smallest allowed value.
        below: an exclusive upper bound; or
        most: the largest allowed value.
        remedy: a sentence for the end of the message.

    Returns:
        The value.

    Raises:
        ValueError: if it is not a number, not finite, or out of range.

    Example:
        >>> check_number("momentum", 0.9, least=0, below=1)
        0.9
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if (
        not real
        or not math.isfinite(value)
        or (above is not None and value <= above)
        or (least is not None and value < least)
        or (below is not None and value >= below)
        or (most is not None and value > most)
    ):
        _refuse(name, value, _range(above, least, below, most), remedy)
    return value


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Checks that a value is one of several choices.

    Args:
        name: the argument's name.
        value: what the user passed.
        choices: the allowed values.

    Returns:
        The value.

    Raises:
        ValueError: if the value is not one of the choices.

    Example:
        >>> check_choice("action", "stop", ("warn", "stop"))
        'stop'
    """
    choices = list(choices)
    if value not in choices:
        _refuse(name, value, f"one of {', '.join(map(repr, choices))}")
    return value


def _range(above, least, below, most):
    """The range in words: "above 0 and below 1"."""
    if least is not None and most is not None:
        return f"between {least} and {most}"
    ends = {"above": above, "at least": least, "below": below, "at most": most}
    ends = [f"{word} {end}" for word, end in ends.items() if end is not None]
    return " and ".join(ends if len(ends) == 2 else [*(ends or ["a number"]), "finite"])


def _refuse(name, value, expected, remedy=""):
    message = f"`{name}` must be {expected}. Received: {name}={value!r}."
    raise ValueError(f"{message} {remedy}".rstrip())
