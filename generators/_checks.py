"""Checks of the arguments of generators.

Each check returns the value, so that a constructor can check and assign it in one line.
"""

import math
import numbers
from collections.abc import Iterable
from typing import Any, NoReturn, TypeGuard


def check_shape(image_shape: Iterable[int]) -> tuple[int, ...]:
    """Returns the shape of one input as a tuple of one or more positive integers."""
    shape = _items(image_shape)
    if not shape or not all(_is_int(side) and side >= 1 for side in shape):
        expected = "positive integers, such as (height, width, channels) or (features,)"
        _refuse("image_shape", image_shape, expected)
    return tuple(map(int, shape))


def check_image_shape(image_shape: Iterable[int]) -> tuple[int, int, int]:
    """Returns `(height, width, channels)` as a tuple."""
    shape = _items(image_shape)
    if len(shape) != 3 or not all(_is_int(side) and side >= 1 for side in shape):
        remedy = "For grey images use 1 channel; SmoothNoise and DenseGenerator make inputs of any shape."
        _refuse("image_shape", image_shape, "(height, width, channels), three positive integers", remedy)
    height, width, channels = map(int, shape)
    return height, width, channels


def check_int(name: str, value: int, least: int = 1) -> int:
    """Returns an integer of at least `least`."""
    if not _is_int(value) or value < least:
        _refuse(name, value, f"an integer of at least {least}")
    return int(value)


def check_number(name: str, value: float, least: float, below: float = math.inf) -> float:
    """Returns a finite number from `least` up to, but not including, `below`."""
    if not _is_number(value) or not least <= value < below:
        end = "" if below == math.inf else f" and below {below}"
        _refuse(name, value, f"a number of at least {least}{end}")
    return value


def check_share(name: str, value: float) -> float:
    """Returns a number in [0, 1]."""
    if not _is_number(value) or not 0 <= value <= 1:
        _refuse(name, value, "a number in [0, 1]")
    return value


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Returns one of the choices."""
    choices = list(choices)
    if value not in choices:
        _refuse(name, value, f"one of {', '.join(map(repr, choices))}")
    return value


def check_range(name: str, value: Iterable[float]) -> tuple[float, float]:
    """Returns `(low, high)` with 0 < low <= high as a tuple."""
    pair = _items(value)
    if len(pair) != 2 or not all(map(_is_number, pair)) or not 0 < pair[0] <= pair[1]:
        _refuse(name, value, "(low, high) with 0 < low <= high")
    return pair[0], pair[1]


def check_counts(name: str, value: Iterable[int]) -> tuple[int, int]:
    """Returns `(fewest, most)`, integers with 1 <= fewest <= most, as a tuple."""
    pair = _items(value)
    if len(pair) != 2 or not all(map(_is_int, pair)) or not 1 <= pair[0] <= pair[1]:
        _refuse(name, value, "(fewest, most), two integers with 1 <= fewest <= most")
    return int(pair[0]), int(pair[1])


def check_per_channel(
    name: str, value: float | Iterable[float], channels: int
) -> float | tuple[float, ...]:
    """Returns a finite number, or a tuple with one number for each channel."""
    values = _items(value)
    if _is_number(value):
        return value
    if len(values) != channels or not all(map(_is_number, values)):
        _refuse(name, value, f"a number, or {channels} numbers, one for each channel")
    return tuple(map(float, values))


def _items(value: object) -> tuple[Any, ...]:
    """Several values as a tuple; an empty tuple for a single value."""
    return tuple(value) if isinstance(value, Iterable) else ()


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(name: str, value: object, expected: str, remedy: str = "") -> NoReturn:
    raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}. {remedy}".rstrip())
