"""The recipes by name."""

from tfkd._core import names
from tfkd.datafree import recipes
from tfkd.datafree._recipe import Recipe


def known_recipes() -> dict[str, type[Recipe]]:
    """The published recipes by the names that `--recipe` takes, including those that need examples."""
    return names.members(recipes, Recipe)
