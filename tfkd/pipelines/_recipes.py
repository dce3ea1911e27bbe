"""Recipes by name and with options as they are typed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tfkd import datafree
from tfkd._core import names, untrusted
from tfkd.datafree import Recipe


def data_free_recipes() -> dict[str, type[Recipe]]:
    """The recipes that need no data, by name."""
    return {name: cls for name, cls in datafree.known_recipes().items() if not cls.needs_examples}


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
    recipe = names.lookup(data_free_recipes(), name.lower().replace("-", "_"), "recipe")
    known = recipe.options(old_names=True).items()
    kinds = {key: option.type for key, option in known if option.type in _PARSERS}
    values = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals:
            raise ValueError(f"`recipe_options` must be key=value. Received: {option!r}.")
        kind = names.lookup(kinds, key.strip(), f"option of recipe {name!r}")
        values[key.strip()] = _parse(key.strip(), kind, text.strip())
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


def _table(path):
    """Rows of numbers from a file."""
    untrusted.check_array(path, f"`recipe_options`: {path!r}")
    return tuple(tuple(row) for row in np.load(path, allow_pickle=False).tolist())


def _numbers(text):
    values = tuple(float(value) for value in text.split(","))
    return values[0] if len(values) == 1 else values


# How text becomes a value, and what was wanted where it does not; by the type of an option.
_PARSERS = {
    bool: (lambda text: {"true": True, "false": False}[text.lower()], "of type bool"),
    int: (int, "of type int"),
    float: (float, "of type float"),
    str: (str, "of type str"),
    tuple[str, ...]: (lambda text: tuple(text.split(",")), "names separated by commas"),
    float | tuple[float, ...]: (_numbers, "a number, or one per channel separated by commas"),
    Sequence[Sequence[float]]: (_table, "a .npy file with a row for each class"),
}


def _parse(name, kind, text):
    parse, wanted = _PARSERS[kind]
    try:
        return parse(text)
    except untrusted.RefusedFile:
        raise
    except (KeyError, ValueError, TypeError, OSError):
        raise ValueError(f"`recipe_options`: {name} must be {wanted}. Received: {text!r}.") from None
