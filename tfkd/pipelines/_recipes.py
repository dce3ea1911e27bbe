"""Recipes by name, with options as typed."""

from collections.abc import Mapping, Sequence
from typing import Any

from tfkd import datafree
from tfkd._core import names
from tfkd.datafree import Recipe
from tfkd.pipelines._typed_options import typed_options


def data_free_recipes() -> dict[str, type[Recipe]]:
    """The recipes that need no data, by name."""
    return {name: cls for name, cls in datafree.known_recipes().items() if not cls.needs_examples}


def recipe_named(name: str, options: Sequence[str] = (), **overrides: Any) -> Recipe:
    """A data-free recipe by name.

    Args:
        name: the name, in any letter case.
        options: `key=value` strings; lists are separated by commas, tables are `.npy` files.
        **overrides: further options, which take precedence; None leaves an option alone.

    Returns:
        The recipe.

    Raises:
        ValueError: for an unknown name or option, with close matches, or a value out of range.

    Example:
        >>> recipe = tfkd.pipelines.recipe_named("dfad", ["memory=4096", "temperature=2"], epochs=10)
    """
    recipe = names.lookup(data_free_recipes(), name.lower().replace("-", "_"), "recipe")
    return recipe(**options_as_typed(recipe, name, options, overrides))


def options_as_typed(
    recipe: Recipe | type[Recipe], name: str, typed: Sequence[str], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Typed options of a recipe, and overrides; None leaves an option alone.

    Raises:
        ValueError: for an option that the recipe does not have, with close matches, or a value of the wrong
            type.
    """
    values = typed_options(recipe.options(old_names=True), typed, f"recipe {name!r}", "recipe_options")
    return values | {key: value for key, value in overrides.items() if value is not None}


def as_recipe(recipe: Recipe | str) -> Recipe:
    """A recipe given as an object or by name.

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
            f"`recipe`: {type(recipe).__name__} makes its inputs from real examples. Give them to "
            "tfkd.DataFreeDistiller.fit, or use another recipe."
        )
    return recipe
