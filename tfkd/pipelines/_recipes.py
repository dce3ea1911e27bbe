"""Recipes by name and with options as they are typed."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfkd import datafree
from tfkd._core import names
from tfkd.datafree import Recipe


def known_recipes() -> dict[str, type[Recipe]]:
    """The recipes that need no data, by name."""
    return names.members(datafree.recipes, Recipe, lambda recipe: not recipe.needs_examples)


def recipe_named(name: str, options: Sequence[str] = (), **overrides: Any) -> Recipe:
    """A recipe that needs no data, by its name.

    Args:
        name: in any case.
        options: `key=value` strings; lists are separated by commas, tables are `.npy` files.
        **overrides: further options, which stand over these; None leaves an option alone.

    Returns:
        The recipe.

    Raises:
        ValueError: for an unknown name or option, with close matches, or a value out of range.

    Example:
        >>> recipe = tfkd.pipelines.recipe_named("dfad", ["memory=4096", "temperature=2"], epochs=10)
    """
    recipe = names.lookup(known_recipes(), name.lower().replace("-", "_"), "recipe")
    fields = {
        field.name: field
        for field in dataclasses.fields(recipe)
        if _kind(field) in _PARSERS and field.name != "objectives"
    }
    values = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ValueError(f"`recipe_options` must be key=value. Received: {option!r}.")
        field = names.lookup(fields, key.strip(), f"option of recipe {name!r}")
        values[field.name] = _parse(field, text.strip())
    values |= {key: value for key, value in overrides.items() if value is not None}
    return recipe(**values)


def as_recipe(recipe: Recipe | str) -> Recipe:
    """A recipe that was given as one or by its name.

    Raises:
        TypeError: if it is neither.
        ValueError: for an unknown name, with close matches, or a recipe that needs real examples.
    """
    recipe = recipe_named(recipe) if isinstance(recipe, str) else recipe
    if not isinstance(recipe, Recipe):
        raise TypeError(
            "`recipe` must be a tfkd.datafree recipe or its name, such as 'procedural'. Received: "
            f"{recipe!r} of type {type(recipe)}."
        )
    if recipe.needs_examples:
        raise ValueError(
            f"`recipe`: {type(recipe).__name__} makes its inputs of real examples. Give them to "
            "tfkd.DataFreeDistiller.fit, or use another recipe."
        )
    return recipe


def _kind(field):
    """The type of a recipe's field; what may be None is of the type it is otherwise."""
    return typing.get_args(field.type)[0] if field.default is None else type(field.default)


def _table(path):
    """Rows of numbers from a file."""
    return tuple(tuple(row) for row in np.load(path, allow_pickle=False).tolist())


_TABLE = Sequence[Sequence[float]]
_PARSERS = {
    bool: lambda text: {"true": True, "false": False}[text.lower()],
    int: int,
    float: float,
    str: str,
    tuple: lambda text: tuple(text.split(",")),
    _TABLE: _table,
}


def _parse(field, text):
    kind = _kind(field)
    try:
        return _PARSERS[kind](text)
    except (KeyError, ValueError, TypeError, OSError):
        wanted = "a .npy file with a row for each class" if kind == _TABLE else f"of type {kind.__name__}"
        raise ValueError(f"`recipe_options`: {field.name} must be {wanted}. Received: {text!r}.") from None
