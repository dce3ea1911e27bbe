"""Losses and optimizers by name, with options as typed."""

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfkd import losses
from tfkd._core import names
from tfkd.losses import KnowledgeLoss


def known_losses() -> dict[str, type]:
    """The losses of `tfkd.losses` by their name in snake case."""
    return names.members(losses, KnowledgeLoss, keep=lambda cls: cls is not losses.FeatureLoss)


def known_optimizers() -> dict[str, type]:
    """Keras optimizers that need only a learning rate, by lower-case name."""
    return {
        name.lower(): cls
        for name, cls in vars(keras.optimizers).items()
        if isinstance(cls, type)
        and issubclass(cls, keras.optimizers.Optimizer)
        and cls is not keras.optimizers.Optimizer
        and "learning_rate" in _parameters(cls)
        and not _needed(cls, {"learning_rate": None})
    }


def losses_named(given: Any) -> list[KnowledgeLoss] | None:
    """Losses given as objects or by name.

    Args:
        given: a loss, a string, a list of both, or None. A string holds names separated by commas, each
            with options after colons, `soft_targets:temperature=4,hint:teacher_layer=a:student_layer=b`; or
            it is JSON, `{"name": "hint", "teacher_layer": ["a", "b"], "student_layer": ["c", "d"]}`, where
            options that are losses are written the same way.

    Returns:
        New losses, and those given as objects; None if `given` is None.

    Raises:
        ValueError: for an unknown name or option, with close matches, a missing option or an invalid value.

    Example:
        >>> losses_named("soft_targets:temperature=4,similarity_preserving")
    """
    if given is None:
        return None
    listed = list(given) if isinstance(given, list | tuple) else [given]
    known, made = known_losses(), []
    for each in listed:
        made += [_made(known, one, "loss", "losses") for one in _typed(each, "losses")]
    return made or None


def optimizer_named(given: Any, learning_rate: Any) -> keras.optimizers.Optimizer:
    """An optimizer by name, with options after colons, such as `sgd:momentum=0.9:nesterov=true`.

    Args:
        given: a string.
        learning_rate: a number or a schedule.

    Raises:
        ValueError: for an unknown name or option, with close matches, or an invalid value.
    """
    (typed,) = _typed(given, "optimizer") or [given]
    if isinstance(typed, dict) and "learning_rate" in typed:
        raise ValueError(
            "`optimizer`: set the learning rate by `learning_rate`, not as an option of the optimizer."
        )
    return _made(known_optimizers(), typed, "optimizer", "optimizer", learning_rate=learning_rate)


def _typed(given, argument) -> list[Any]:
    """The entries of a string as dictionaries; other values unchanged."""
    if not isinstance(given, str):
        return [given]
    if not given.lstrip().startswith(("{", "[")):
        return [_from_colons(text.strip(), argument) for text in given.split(",") if text.strip()]
    try:
        found = json.loads(given)
    except ValueError as error:
        raise ValueError(f"`{argument}` is not valid JSON: {error}. Received: {given!r}.") from None
    found = found if isinstance(found, list) else [found]
    for each in found:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise ValueError(f'`{argument}`: JSON must be {{"name": ..., options}}. Received: {each!r}.')
    return found


def _from_colons(text, argument):
    name, *parts = text.split(":")
    options: dict[str, Any] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if equals:
            options[key.strip()] = value.strip()
        elif options:
            # Part of a tap, such as `conv1:input`.
            options[list(options)[-1]] += f":{part.strip()}"
        else:
            raise ValueError(f"`{argument}` must be name:key=value:key=value. Received: {text!r}.")
    return {"name": name.strip(), **{key: _value(value) for key, value in options.items()}}


def _value(text):
    """A number, true, false or null; any other text is a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _made(known: Mapping[str, type], given: Any, what: str, argument: str, **more: Any) -> Any:
    if not isinstance(given, dict):
        return given
    options = dict(given)
    name = options.pop("name")
    cls = names.lookup(known, name, f"{what} in `{argument}`")
    parameters = _parameters(cls)
    for key, value in options.items():
        names.lookup(parameters, key, f"option of {what} {name!r}")
        if isinstance(value, dict) and "name" in value:
            options[key] = _made(known, value, what, argument)
    options |= more
    if needed := _needed(cls, options):
        raise ValueError(
            f"`{argument}`: {what} {name!r} needs {' and '.join(needed)}, as in "
            f"{name}:{':'.join(f'{key}=...' for key in needed)}."
        )
    try:
        return cls(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{argument}`: {what} {name!r}: {error}") from error


def _needed(cls: type, options: Mapping[str, Any]) -> list[str]:
    """The required arguments of a class that the options lack."""
    parameters = _parameters(cls).items()
    return [key for key, each in parameters if each.default is each.empty and key not in options]


def _parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """The arguments of a class, including its base's if it passes them on."""
    found: dict[str, inspect.Parameter] = {}
    variable = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        for each in parameters:
            if each.kind not in variable and each.name not in (*_NOT_TYPED, *found):
                found[each.name] = each
        if base is KnowledgeLoss or not any(each.kind is each.VAR_KEYWORD for each in parameters):
            break
    return found


_NOT_TYPED: Sequence[str] = ("self", "name")
