"""The recipe "auto", chosen once the teacher is known."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfkd.datafree import Choice, Procedural, Recipe, choose_recipe
from tfkd.pipelines._recipes import as_recipe, options_as_typed, recipe_named

# The value of `recipe` for it.
AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class AutomaticRecipe:
    """A recipe to be chosen later, with the user's options.

    Args:
        typed: `key=value` strings.
        overrides: further options, which take precedence; None leaves an option alone.
    """

    typed: Sequence[str] = ()
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def chosen(self, teacher: keras.Model, inherits: bool, shallower: bool = False) -> Choice:
        """The recipe for a teacher and its students, and the reason.

        Raises:
            ValueError: for an option that the recipe does not have, or a value out of range.
        """
        recipe, reason = choose_recipe(teacher, inherits, shallower)
        options = options_as_typed(recipe, recipe.name, self.typed, self.overrides)
        recipe = recipe.with_options(**options)
        if "warmup_steps" in options:
            return Choice(recipe, reason)
        # A short run must not consist of warm-up only.
        most = recipe.epochs * recipe.steps_per_epoch // 3
        return Choice(recipe.with_options(warmup_steps=min(recipe.warmup_steps, most)), reason)


def recipe_asked_for(name: str, options: Sequence[str], **overrides: Any) -> Recipe | AutomaticRecipe:
    """A recipe by name, including "auto"; arguments and errors are as for `recipe_named`."""
    if name.lower() == AUTO:
        # All candidates have these options; errors are raised before the teacher is loaded.
        options_as_typed(Procedural, AUTO, options, overrides)
        return AutomaticRecipe(options, overrides)
    return recipe_named(name, options, **overrides)


def as_recipe_or_auto(recipe: Recipe | AutomaticRecipe | str) -> Recipe | AutomaticRecipe:
    """A recipe given as an object or by name, including "auto".

    Raises:
        TypeError: if it is neither.
        ValueError: for an unknown name, or a recipe that needs real examples.
    """
    if isinstance(recipe, AutomaticRecipe):
        return recipe
    if isinstance(recipe, str) and recipe.lower() == AUTO:
        return AutomaticRecipe()
    return as_recipe(recipe)


def chosen_recipe(
    recipe: Recipe | AutomaticRecipe, teacher: keras.Model, inherits: bool, shallower: bool = False
) -> Choice:
    """The recipe for a teacher, and why: as requested, or chosen to suit the teacher.

    The arguments after the first are as for `choose_recipe`.
    """
    if isinstance(recipe, AutomaticRecipe):
        return recipe.chosen(teacher, inherits, shallower)
    return Choice(recipe, "It was requested.")
