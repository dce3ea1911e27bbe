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
