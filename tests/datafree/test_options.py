"""Options of recipes: what is accepted takes a step, what is refused says which option and why."""

import dataclasses
import types
import warnings

import keras
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import generators
import tfkd
from tests.conftest import small_network
from tests.datafree.recipes import RECIPES
from tfkd import datafree
from tfkd._core.options import AtLeast, Formerly, OneOf, Options
from tfkd.datafree._parts import Priors
from tfkd.losses import SoftTargets

MEMORY = {"memory": 512}


@pytest.mark.parametrize(
    ("recipe", "options", "message"),
    [
        # The eight that were once accepted, and crashed or had no effect.
        ("Procedural", {"same_inputs": True}, "Unknown option of Procedural 'same_inputs'"),
        ("Procedural", {"same_latent": True}, "Unknown option of Procedural 'same_latent'"),
        ("DeepInversion", {"same_latent": True}, "Unknown option of DeepInversion 'same_latent'"),
        ("CMI", {"remembered": 3.5, "compared": 2.5}, "`remembered` must be an integer of at least 1"),
        (
            "Procedural",
            {"candidates_per_image": 1, "statistics_weight": 40.0, "balance": 1.0, "disagreement": 2.0},
            "`balance` has no effect: `candidates_per_image` is 1",
        ),
        ("Procedural", {"features_at": "convolutions"}, "`features_at` has no effect: `features` is 0"),
        ("Procedural", {"class_weight": 99.0}, "`class_weight` has no effect: `chains` is 0"),
        ("Procedural", {"output": "unsquashed"}, "Unknown option of Procedural 'output'"),
        ("DeepInversion", {"filters": 7}, "Unknown option of DeepInversion 'filters'"),
        ("DAFL", {"one_hot": -1.0}, "`one_hot` must be at least 0"),
        ("DAFL", {"class_balance": -5.0}, "`class_balance` must be at least 0"),
        # Values out of range.
        ("Procedural", {"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ("Procedural", {"batch_size": 2.0}, "`batch_size` must be an integer of at least 1"),
        ("Procedural", {"epochs": True}, "`epochs` must be an integer of at least 1"),
        ("Procedural", {"refine_share": 1.5}, "`refine_share` must be between 0 and 1"),
        ("Procedural", {"refine_size": -0.1}, "`refine_size` must be at least 0"),
        ("Procedural", {"statistics_weight": -1.0}, "`statistics_weight` must be at least 0"),
        ("Procedural", {"temperature": 0.0}, "`temperature` must be above 0"),
        ("Procedural", {"temperature": float("inf")}, "`temperature` must be above 0"),
        ("Procedural", {"balance": float("nan")}, "`balance` must be at least 0"),
        ("Procedural", {"student_flip": 1}, "`student_flip` must be True or False"),
        ("Procedural", {"features_at": "layers"}, "`features_at` must be one of 'stages', 'convolutions'"),
        ("Procedural", {"memory_dtype": "int4"}, "`memory_dtype` must be one of"),
        ("Procedural", {"memory": 10}, "0 or at least the batch size"),
        ("Procedural", {"replay_steps": 0}, "`replay_steps` must be an integer of at least 1"),
        ("Procedural", {"prior": ()}, "`prior` must be at least one procedural generator"),
        ("Procedural", {"prior": ("smooth_noize",)}, "Did you mean 'smooth_noise'"),
        ("Procedural", {"real_share": 0.0}, "`real_share` must be above 0"),
        ("Procedural", {"microbatches": 3}, "`microbatches` must be a divisor of the batch size"),
        ("Procedural", {"chains": -1}, "`chains` must be an integer of at least 0"),
        ("Procedural", {"chains": 300, "chain_moves": 0}, "`chain_moves`"),
        ("DFAD", {"weight_decay": -1.0}, "`weight_decay` must be at least 0"),
        ("DFAD", {"pixel_std": 0.0}, "`pixel_std` must be above 0"),
        ("DFAD", {"output": "tanh"}, "`output` must be one of 'sigmoid', 'normalized', 'scaled'"),
        ("DFAD", {"generator_steps": 0}, "`generator_steps` must be an integer of at least 1"),
        ("DFAD", {"prior_share": 1.0}, "`prior_share` must be at least 0 and below 1"),
        ("DFAD", {"memory": 1024, "memory_dtype": "uint8"}, "'float16' with output='normalized'"),
        ("DFAD", {"adversarial": 0.0}, "`objectives` must be at least one"),
        ("Fast", {"memory": 256, "inversion_batch": 512}, "`memory` must be None or at least 512"),
        ("Fast", {"microbatches": 3}, "`microbatches` must be a divisor"),
        ("Fast", {"generator_learning_rate": 0.0}, "`generator_learning_rate` must be above 0"),
        ("Fast", {"reset_first_layer_at": -3}, "`reset_first_layer_at` must be an integer of at least 0"),
        ("Fast", {"momentum": 1.0}, "`momentum` must be at least 0 and below 1"),
        ("NAYER", {"generator_lifetime": 0}, "`generator_lifetime` must be an integer of at least 1"),
        ("CMI", {"prior_share": 0.95}, "`prior_share` must be between 0 and 0.9"),
        ("DeepInversion", {"start": "image"}, "`start` must be one of 'noise', 'prior'"),
        ("DeepInversion", {"memory_dtype": "uint8", "clip": False}, "with clip=False"),
        ("BlackBox", {"directions": 0}, "`directions` must be an integer of at least 1"),
        ("BSS", {"microbatches": 2}, "`microbatches` has no effect: batches of real"),
        ("BSS", {"attack_step_size": 1.5}, "`attack_step_size`"),
        # Options that have no effect beside the others.
        ("Procedural", {"chains": 300, "candidates_per_image": 2}, "`candidates_per_image` has no effect"),
        ("Procedural", {"chains": 300, "balance": 1.0}, "`balance` has no effect: each of the `chains`"),
        ("Procedural", {"memory": 0, "replay_steps": 3}, "`replay_steps` has no effect: `memory` is 0"),
        ("Procedural", {"refine_steps": 0, "refine_size": 0.3}, "`refine_size` has no effect"),
        ("Procedural", {"warmup_steps": 5}, "`warmup_steps` has no effect"),
        ("GuidedPrior", {"refine_statistics": 1.0}, "`refine_statistics` has no effect"),
        ("DFAD", {"temperature": 3.0}, "`temperature` has no effect: `student_loss` is given"),
        ("DFAD", {"prior": ("smooth_noise",)}, "`prior` has no effect: `prior_share` is 0"),
        (
            "Procedural",
            {"pictures": "photos"},
            "`pictures` has no effect: `prior` does not include 'pictures'; add prior=pictures",
        ),
        ("DFAD", {"output": "sigmoid", "pixel_mean": 0.4}, "`pixel_mean` has no effect"),
        (
            "BlackBox",
            {"refine_steps": 2, "refine_share": 0.5, "prior_share": 0.5},
            "`refine_share` has no effect: a black box",
        ),
        ("Fast", {"chains": 1000}, "`chains` has no effect: `prior_share` is 0"),
        # Names that there are not.
        ("Procedural", {"prior_share": 0.5}, "Unknown option of Procedural 'prior_share'"),
        ("Fast", {"student_steps": 1}, "Unknown option of Fast 'student_steps'"),
        ("CMI", {"output": "normalized"}, "Unknown option of CMI 'output'"),
        ("DFAD", {"latent_sise": 3}, "Did you mean 'latent_size'"),
    ],
    ids=str,
)
def test_what_is_refused(recipe, options, message):
    makers = (
        lambda: getattr(datafree, recipe)(**options),
        lambda: getattr(datafree, recipe)().with_options(**options),
    )
    for make in makers:
        with pytest.raises(ValueError, match=message.replace("(", "\\(")):
            make()


def test_values_beyond_0_and_1_are_not_refined():
    ages = generators.Uniform((2,), low=[18, 0], high=[99, 1])
    with pytest.raises(ValueError, match=r"`refine_steps` must be 0 with prior=uniform, whose .* `mean`"):
        datafree.Procedural(prior=ages)
    assert datafree.Procedural(prior=ages, refine_steps=0).priors == (ages,)
    with pytest.raises(
        ValueError, match="`memory_dtype` must be 'float32' or 'float16' with prior=uniform"
    ):
        datafree.Procedural(prior=ages, refine_steps=0, memory_dtype="uint8")
    assert datafree.Procedural(prior=generators.Uniform((2,))).refines()


def test_losses_of_layers_are_refused():
    with pytest.raises(ValueError, match="`student_loss` must be a loss of the outputs"):
        datafree.Procedural(student_loss=SoftTargets(teacher_layer="conv1"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator_steps": 1}, "`objectives` must be at least one"),
        ({"prior_share": 0.5}, "`prior_share` must be 1 if no generator is trained"),
    ],
)
def test_a_recipe_by_hand(options, message):
    made = datafree.Recipe(batch_size=4, prior_share=1.0, generator_steps=0)
    assert isinstance(made, datafree.PriorRecipe) and made.batch_size == 4
    with pytest.raises(ValueError, match=message):
        datafree.Recipe(**options)


def test_what_has_no_effect_is_as_if_it_had_not_been_given():
    recipe = datafree.Procedural().with_options(candidates_per_image=1, memory=0)
    assert (recipe.balance, recipe.replay_steps) == (0, 1)
    assert recipe == recipe.with_options(epochs=recipe.epochs)
    assert dataclasses.replace(recipe, epochs=7) == recipe.with_options(epochs=7)
    assert recipe.updates_per_step() == 1


def test_old_names_work_and_say_the_new_ones():
    for old, new in (
        ({"overdraw": 4}, {"candidates_per_image": 4}),
        ({"typicality": 3.0}, {"statistics_weight": 3.0}),
        ({"accumulate": 2}, {"microbatches": 2}),
        ({"chains": 512, "sureness": 3.0}, {"chains": 512, "class_weight": 3.0}),
    ):
        with pytest.warns(DeprecationWarning, match=f"is now called {list(new)[-1]}"):
            made = datafree.Procedural(**old)
        assert made == datafree.Procedural(**new)
    for old, new in (
        ({"same_inputs": True}, "same_images"),
        ({"same_latent": True}, "same_latents"),
        ({"same_inputs": False, "same_latent": False}, "after"),
    ):
        with pytest.warns(DeprecationWarning, match="generator_order"):
            assert datafree.DFAD(**old).generator_order == new
    with pytest.warns(DeprecationWarning):
        assert datafree.DeepInversion(competition=2.0, first=3.0) == datafree.DeepInversion(
            adaptive_weight=2.0, first_layer_multiplier=3.0
        )
    with pytest.warns(DeprecationWarning):
        assert datafree.NAYER().with_options(life=3).generator_lifetime == 3


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_what_is_described_can_be_made_again(recipe):
    described = recipe.describe()
    assert described.pop("name") == recipe.name
    kept = {name: getattr(recipe, name) for name in ("objectives", "student_loss") if name in described}
    assert type(recipe)(**{**described, **kept}) == recipe


def test_options_say_their_types():
    options = datafree.DFAD.options()
    assert options["batch_size"].type is int and options["memory"].optional
    assert options["prior"].type == Priors
    assert options["pixel_mean"].type == float | tuple[float, ...]
    assert "overdraw" not in options
    old = datafree.DFAD.options(old_names=True)
    assert old["overdraw"].type is int and old["same_inputs"].type is bool


def of_option(name, option):
    """Values of one option, some out of range, at sizes for tests."""
    small = {
        "batch_size": st.sampled_from([0, 3, 8]),
        "inversion_batch": st.sampled_from([1, 8]),
        "memory": st.sampled_from([0, 8, 16, None]),
        "chains": st.sampled_from([0, 16, 32]),
        "prior": st.sampled_from([(), ("strokes",), ("smooth_noise", "dead_leaves")]),
        "feature_layers": st.sampled_from([None, (("conv1", "conv1"),)]),
        "attention_layers": st.sampled_from([None, (("conv1", "conv1"),)]),
        "student_loss": st.sampled_from([None, SoftTargets(2.0)]),
        "embeddings": st.just(None),
        "objectives": st.just(()),
        "microbatches": st.sampled_from([1, 2]),
        "reset_first_layer_at": st.sampled_from([None, 0, 1]),
        "noise_size": st.just(3),
        "student_learning_rate": st.just(0.01),
        "generator_learning_rate": st.just(0.01),
    }
    if name in small:
        return small[name]
    named = [mark for mark in option.ranges if isinstance(mark, OneOf)]
    if named:
        return st.sampled_from(named[0].known)
    if option.type is bool:
        return st.booleans()
    if option.type is int:
        return st.sampled_from([-1, 0, 1, 2])
    return st.sampled_from([-0.5, 0.0, 0.25, 0.9, 1.0])


SMALL = {
    "batch_size": 8,
    "memory": 16,
    "replay_steps": 1,
    "inversion_batch": 8,
    "generator_steps": 1,
    "latent_size": 3,
    "filters": 2,
    "student_steps": 1,
    "noise_size": 3,
    "remembered": 8,
    "compared": 4,
    "chains": 32,
    "chain_moves": 1,
    "attack_steps": 1,
    "prior": ("strokes",),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(datafree.known_recipes()))
@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_what_is_accepted_takes_a_step(teacher, name, data):
    cls = datafree.known_recipes()[name]
    known = cls.options()
    chosen = data.draw(st.lists(st.sampled_from(sorted(known)), min_size=1, max_size=3, unique=True))
    changes = {option: data.draw(of_option(option, known[option]), label=option) for option in chosen}
    base = cls()
    start = {key: value for key, value in SMALL.items() if key in known and getattr(base, key) != 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras.utils.set_random_seed(1)
        try:
            recipe = base.with_options(**{**start, "warmup_steps": 0}).with_options(**changes)
            distiller = tfkd.DataFreeDistiller(teacher, small_network(8), recipe, seed=1)
        except ValueError as error:
            assert any(f"`{option}`" in str(error) for option in known), error
            return
        distiller.compile(run_eagerly=True)
        given_examples = {"x": distiller.synthesize(8), "batch_size": 8} if recipe.needs_examples else {}
        distiller.fit(epochs=1, steps_per_epoch=1, verbose=0, **given_examples)
    assert distiller.steps_done.numpy() == 1
    assert distiller.optimizer.iterations.numpy() == (
        0 if recipe.warmup_steps else recipe.updates_per_step()
    )


def test_options_of_ones_own():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Cook(Options):
        eggs: types.SimpleNamespace | int | None = None

    assert Cook(eggs=2).with_options(eggs=3).eggs == 3
    with pytest.raises(ValueError, match=r"Unknown option of Cook 'egs'\. Did you mean 'eggs'"):
        Cook(egs=2)
    assert AtLeast(2).least == 2 and Formerly("x").values is None
