"""The recipe "auto", with options of one's own."""

import pytest

from tests.conftest import small_network
from tfkd.datafree import GuidedPrior, Procedural
from tfkd.pipelines._automatic import (
    AutomaticRecipe,
    as_recipe_or_auto,
    chosen_recipe,
    recipe_asked_for,
)


def test_options_stand_over_those_of_the_recipe_that_is_chosen():
    asked = recipe_asked_for("Auto", ["temperature=2", "chain_moves=3"], epochs=5, memory=None)
    recipe, reason = chosen_recipe(asked, small_network(), inherits=True)
    assert isinstance(recipe, GuidedPrior) and "batch normalization" in reason
    assert (recipe.temperature, recipe.chain_moves, recipe.epochs) == (2.0, 3, 5)
    assert recipe.memory is None and recipe.features > 0


@pytest.mark.parametrize(
    ("typed", "warmup_steps"), [([], 320), (["steps_per_epoch=2"], 16), (["warmup_steps=400"], 400)]
)
def test_a_short_run_is_not_all_warm_up(typed, warmup_steps):
    recipe, _ = AutomaticRecipe(typed).chosen(small_network(), inherits=False)
    assert recipe.warmup_steps == warmup_steps


def test_what_was_asked_for_is_taken():
    recipe = Procedural(epochs=3)
    assert chosen_recipe(as_recipe_or_auto(recipe), small_network(), True)[0] is recipe
    assert isinstance(as_recipe_or_auto("auto"), AutomaticRecipe)
    assert isinstance(recipe_asked_for("procedural", []), Procedural)


def test_options_of_another_recipe_are_refused():
    with pytest.raises(ValueError, match="Unknown option of recipe 'auto' 'generator_steps'"):
        recipe_asked_for("auto", ["generator_steps=3"])
