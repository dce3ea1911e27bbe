"""Recipes by name, with options as they are typed."""

import json

import numpy as np
import pytest

from tfkd.pipelines import recipe_named


def test_options_are_read_by_their_type():
    recipe = recipe_named(
        "Procedural",
        ["temperature=2.5", "memory=0", "prior=smooth_noise,dead_leaves", "refine_steps = 3"],
        batch_size=64,
        epochs=None,
    )
    assert (recipe.temperature, recipe.memory, recipe.refine_steps) == (2.5, 0, 3)
    assert recipe.prior == ("smooth_noise", "dead_leaves")
    assert recipe.batch_size == 64 and recipe.epochs == 18
    assert recipe_named("zskt", ["student_flip=true"]).student_flip is True
    assert recipe_named("dfad", ["epochs=3"], epochs=5).epochs == 5
    scaled = recipe_named("deep_inversion", ["clip=false", "pixel_mean=0.5,0.4,0.3", "pixel_std=0.2"])
    assert (scaled.clip, scaled.pixel_mean, scaled.pixel_std) == (False, (0.5, 0.4, 0.3), 0.2)


def test_old_names_of_options_are_read():
    with pytest.warns(DeprecationWarning, match="microbatches"):
        assert recipe_named("procedural", ["accumulate=2"]).microbatches == 2
    with pytest.warns(DeprecationWarning, match="generator_order"):
        assert recipe_named("dfad", ["same_latent=true"]).generator_order == "same_latents"


def test_options_without_effect_are_refused():
    with pytest.raises(ValueError, match="`refine_size` has no effect"):
        recipe_named("procedural", ["refine_steps=0", "refine_size=0.2"])


def test_embeddings_come_from_a_file(tmp_path):
    table = np.arange(6.0).reshape(3, 2)
    np.save(tmp_path / "names.npy", table)
    recipe = recipe_named("nayer", [f"embeddings={tmp_path / 'names.npy'}"])
    np.testing.assert_array_equal(recipe.embeddings, table)
    json.dumps(recipe.describe())
    np.save(tmp_path / "flat.npy", table[0])
    for path in ("none.npy", tmp_path / "flat.npy"):
        with pytest.raises(ValueError, match=r"embeddings must be a \.npy file with a row for each class"):
            recipe_named("nayer", [f"embeddings={path}"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("procedurel", [], "Unknown recipe 'procedurel'. Did you mean 'procedural'"),
        ("recipe", [], "Unknown recipe"),
        ("dfad", ["temprature=3"], "Unknown option of recipe 'dfad' 'temprature'"),
        ("dfad", ["memori=3"], "Did you mean 'memory'"),
        ("dfad", ["objectives=x"], "Unknown option"),
        ("dfad", ["memory"], "`recipe_options` must be key=value"),
        ("dfad", ["memory=many"], "memory must be of type int"),
        ("dfad", ["student_flip=perhaps"], "student_flip must be of type bool"),
        ("dfad", ["batch_size=-1"], "`batch_size` must be an integer of at least 1"),
    ],
)
def test_bad_recipes(name, options, message):
    with pytest.raises(ValueError, match=message):
        recipe_named(name, options)
