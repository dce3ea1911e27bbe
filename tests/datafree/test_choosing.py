"""Which recipe suits a teacher."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tests import transformers
from tests.conftest import CLASSES, SHAPE, small_network
from tfkd.datafree import GuidedPrior, Procedural, ProceduralText, choose_recipe


def plain_network():
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.Flatten()(x)))


def of_vectors():
    return keras.Sequential([keras.Input((7,)), layers.Dense(CLASSES)])


def black_box():
    return tfkd.BlackBoxTeacher(lambda x: np.full((len(x), 3), 1 / 3), (8, 8, 1), 3)


@pytest.mark.parametrize(
    ("make", "recipe", "why"),
    [
        (small_network, GuidedPrior, "batch normalizations tell which"),
        (plain_network, Procedural, "no batch normalization"),
        (of_vectors, Procedural, "not take images"),
        (black_box, Procedural, "black box"),
        (transformers.own, ProceduralText, "token ids"),
    ],
)
def test_by_teacher(make, recipe, why):
    chosen = choose_recipe(make())
    assert type(chosen.recipe) is recipe and why in chosen.reason


def test_students_that_inherit_learn_features_where_there_are_some():
    for make in (small_network, plain_network):
        chosen = choose_recipe(make(), inherits=True)
        assert chosen.recipe.features > 0 and "features" in chosen.reason
    assert choose_recipe(black_box(), inherits=True).recipe.features == 0


@pytest.mark.eager
def test_what_is_chosen_for_a_plain_network_teaches():
    teacher = plain_network()
    student = tfkd.students.scale_width(teacher, 0.5, inherit=True)
    recipe = choose_recipe(teacher, inherits=True).recipe
    recipe = recipe.with_options(batch_size=16, memory=32, epochs=1, steps_per_epoch=1)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe)
    distiller.compile()
    assert np.isfinite(distiller.fit(verbose=0).history["loss"]).all()
