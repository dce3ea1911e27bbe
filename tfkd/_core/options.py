"""Options: frozen dataclasses that declare ranges and old names, and reject options without effect.

A field is declared as `steps: Annotated[int, AtLeast(1), Formerly("updates")] = 5`. Option classes are
composed by inheritance, so that an option exists only where it has a meaning, and options stay flat.
"""

import dataclasses
import functools
import math
import numbers
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from typing_extensions import Self

from tfkd._core import names
from tfkd._core.renames import warn_renamed


class AtLeast(NamedTuple):
    """A number of at least a limit."""

    least: float

    def __contains__(self, value) -> bool:
        return value >= self.least

    def __str__(self) -> str:
        return f"at least {self.least}"


class Above(NamedTuple):
    """A number above a limit."""

    limit: float

    def __contains__(self, value) -> bool:
        return value > self.limit

    def __str__(self) -> str:
        return f"above {self.limit}"


class Between(NamedTuple):
    """A number between two, both included."""

    low: float
    high: float

    def __contains__(self, value) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"between {self.low} and {self.high}"


class Share(NamedTuple):
    """A number of at least 0 and below 1."""

    def __contains__(self, value) -> bool:
        return 0 <= value < 1

    def __str__(self) -> str:
        return "at least 0 and below 1"


class OneOf:
    """One of several names."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def __contains__(self, value) -> bool:
        return value in self.known

    def __str__(self) -> str:
        return f"one of {', '.join(map(repr, self.known))}"


class Formerly(NamedTuple):
    """An old name of an option, accepted for one more version.

    Args:
        name: the old name.
        values: the new values by old value; old values that are missing here leave the option unset.
            None if the values have not changed.
    """

    name: str
    values: Mapping[Any, Any] | None = None


class Option(NamedTuple):
    """The declaration of one option.

    Args:
        type: the type of its values.
        optional: whether it may be None.
        default: its default; `dataclasses.MISSING` if a new one is made each time.
        ranges: the ranges that values must lie in.
        former: its old names.
    """

    type: Any
    optional: bool
    default: Any
    ranges: tuple
    former: tuple[Formerly, ...]


class _ByName(type):
    """Takes options by name, and rejects unknown names and options that have no effect."""

    chosen: Callable[[dict[str, Any]], tuple["type[Options]", dict[str, Any]]]

    def __call__(cls, **given):
        chosen, given = cls.chosen(given)
        given = _renamed(chosen, given)
        return _in_effect(type.__call__(chosen, **given), given)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(metaclass=_ByName):
    """A frozen dataclass of options; subclasses combine several such classes.

    Raises:
        ValueError: for an unknown name, with close matches; a value out of range; or an option that has no
            effect with the others.
    """

    def __post_init__(self) -> None:
        for name, option in _options(type(self)).items():
            value = getattr(self, name)
            if isinstance(value, list):
                value = _as_tuples(value)
                object.__setattr__(self, name, value)
            there = value is not None or not option.optional
            if there and (expected := _expected(value, option)):
                self._refuse(name, expected)
        self.check()

    @classmethod
    def chosen(cls, given: dict[str, Any]) -> tuple["type[Options]", dict[str, Any]]:
        """The class to instantiate for the given options, and the options that it takes."""
        return cls, given

    def check(self) -> None:
        """Raises ValueError for options that cannot be combined."""

    def idle(self) -> Iterator[tuple[str, str]]:
        """Yields the options that have no effect with the others, and the reasons."""
        yield from ()

    @classmethod
    def options(cls, old_names: bool = False) -> dict[str, Option]:
        """The available options, by name.

        Args:
            old_names: whether to list names of earlier versions too, which `with_options` still accepts.
        """
        known = dict(_options(cls))
        for option in _options(cls).values() if old_names else ():
            for name, values in option.former:
                kind = option.type if values is None else type(next(iter(values)))
                known.setdefault(name, option._replace(type=kind))
        return known

    def with_options(self, **changes: Any) -> Self:
        """A copy with some options changed; options that then have no effect return to their defaults.

        Args:
            **changes: new values by name.

        Raises:
            ValueError: for an unknown name, with close matches; a value out of range; or a new value that
                has no effect.

        Example:
            >>> tfkd.datafree.Procedural().with_options(refine_steps=4).refine_steps
            4
        """
        changes = _renamed(type(self), changes)
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return _in_effect(type.__call__(type(self), **{**values, **changes}), changes)

    def neutral(self, option: str) -> Any:
        """The value at which an option has no effect: the default where it was first declared."""
        first = next(cls for cls in reversed(type(self).__mro__) if option in vars(cls))
        return vars(first)[option]

    def _refuse(self, field: str, expected: str) -> None:
        raise ValueError(
            f"{type(self).__name__}: `{field}` must be {expected}. "
            f"Received: {field}={getattr(self, field)!r}."
        )


def _in_effect(made, asked):
    """The same options; those that have no effect and were not requested are reset to neutral values."""
    for name, reason in list(made.idle()):
        neutral = made.neutral(name)
        if getattr(made, name) == neutral:
            continue
        if name in asked:
            raise ValueError(
                f"{type(made).__name__}: `{name}` has no effect: {reason}. "
                f"Received: {name}={asked[name]!r}."
            )
        object.__setattr__(made, name, neutral)
    return made


def _renamed(cls, given):
    """The given options with old names replaced."""
    options = _options(cls)
    former = {old.name: (new, old) for new, option in options.items() for old in option.former}
    values = {}
    for name, value in given.items():
        if name in former and name not in options:
            new, old = former[name]
            warn_renamed(f"{cls.__name__}({name}=)", new)
            if old.values is None:
                values[new] = value
            elif value in old.values:
                values[new] = old.values[value]
            continue
        names.lookup(options, name, f"option of {cls.__name__}")
        values[name] = value
    return values


@functools.cache
def _options(cls) -> dict[str, Option]:
    return {field.name: _option(cls, field) for field in dataclasses.fields(cls)}


def _option(cls, field):
    """The type from an option's last declaration, and the ranges and old names from all of them."""
    kinds, marks = (), []
    for base in reversed(cls.__mro__):
        if field.name not in vars(base).get("__annotations__", {}):
            continue
        hint = typing.get_type_hints(base, include_extras=True)[field.name]
        if typing.get_origin(hint) is typing.Annotated:
            hint, *more = typing.get_args(hint)
            marks += more
        kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    bare = functools.reduce(lambda a, b: a | b, [kind for kind in kinds if kind is not type(None)])
    ranges = tuple(mark for mark in marks if not isinstance(mark, Formerly))
    former = tuple(mark for mark in marks if isinstance(mark, Formerly))
    return Option(bare, type(None) in kinds, field.default, ranges, former)


_KINDS = {
    int: ("an integer", lambda v: isinstance(v, numbers.Integral) and not isinstance(v, bool)),
    float: ("", lambda v: isinstance(v, numbers.Real) and not isinstance(v, bool) and math.isfinite(v)),
    bool: ("True or False", lambda v: isinstance(v, bool)),
    str: ("a name", lambda v: isinstance(v, str)),
}


def _expected(value, option):
    """What was expected instead of a value; None if it is valid."""
    described, fits = _KINDS.get(option.type, ("", lambda v: True))
    limits = " and ".join(map(str, option.ranges))
    if fits(value) and all(value in limit for limit in option.ranges):
        return None
    if described and limits and option.type is not str:
        return f"{described} of {limits}"
    return limits or described or "a finite number"


def _as_tuples(value):
    return tuple(map(_as_tuples, value)) if isinstance(value, (list, tuple)) else value
