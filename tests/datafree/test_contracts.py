"""The contracts that recipes and objectives of one's own can be held to, on those of this package."""

import dataclasses

import keras
import pytest

from tests.conftest import blobs, small_network, small_vit
from tests.datafree.objectives.registry import OBJECTIVES, OF_TRANSFORMERS
from tests.datafree.recipes import RECIPES, RESUMED, TINY, TINY_INVERSION
from tfkd import datafree
from tfkd.datafree import objectives
from tfkd.testing._check_objective import check_objective
from tfkd.testing._check_recipe import check_recipe

pytestmark = [pytest.mark.slow, pytest.mark.eager]

# What takes a run of its own, and is the same for many recipes.
RUNS = ("compiled", "resumes", "takes_over")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes(teacher, name):
    # Those that are killed and resumed teach there.
    leave_out = (*RUNS, "step", "synthesize", "preserves") if name in RESUMED else RUNS
    check_recipe(RECIPES[name], teacher, small_network(4), leave_out=leave_out)


@pytest.mark.xla
def test_all_of_the_contract(teacher):
    check_recipe(RECIPES["procedural"], teacher, small_network(4))


@pytest.mark.parametrize("name", ["dfad with prior and memory", "deep inversion"])
def test_another_distiller_goes_on_with_the_images(teacher, name):
    leave_out = {"options", "unknown", "source", "compiled", "resumes"}
    check_recipe(RECIPES[name], teacher, small_network(4), leave_out=leave_out)


def test_a_recipe_that_needs_examples(teacher):
    recipe = datafree.BSS(**{**TINY, "batch_size": 8}, attack_steps=2)
    check_recipe(
        recipe,
        teacher,
        small_network(4),
        examples=blobs(16, 2)[0],
        leave_out=("compiled", "takes_over", "resumes"),
    )


def test_the_recipe_for_vision_transformers():
    recipe = datafree.PSAQViT(**TINY_INVERSION, view_shift=2)
    check_recipe(recipe, small_vit(), small_network(4), leave_out=("compiled", "takes_over", "resumes"))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives(teacher, name):
    objective, leave_out = OBJECTIVES[name]
    subject = small_vit(2) if name in OF_TRANSFORMERS else teacher
    check_objective(objective, subject, small_network(4), leave_out=leave_out)


@dataclasses.dataclass(frozen=True)
class Forgetful(objectives.Objective):
    """Asks the student without saying so."""

    def value(self, batch):
        return keras.ops.mean(batch.student_logits)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant(datafree.PriorRecipe):
    """Teaches nothing."""

    def student_optimizer(self, updates):
        return keras.optimizers.SGD(0.0)


def test_what_breaks_the_contract_is_said(teacher):
    with pytest.raises(AssertionError, match="fails 'value'"):
        check_objective(Forgetful(), teacher)
    with pytest.raises(AssertionError, match="Constant fails 'step': a run does not change the student"):
        no_statistics = keras.Sequential(
            [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
        )
        check_recipe(Constant(**TINY), teacher, no_statistics)
