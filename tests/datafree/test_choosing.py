"""Which recipe suits a teacher."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tests import transformers
from tests.conftest import CLASSES, SHAPE, small_network
from tfkd.datafree import GuidedPrior, PicturePrior, Procedural, ProceduralText, choose_recipe
from tfkd.datafree.recipes._choosing import calibrating_recipe
from tfkd.tasks import task_of


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
        (small_network, GuidedPrior, "batch normalization statistics show"),
        (plain_network, Procedural, "no batch normalization"),
        (of_vectors, Procedural, "not take images"),
        (black_box, Procedural, "black box"),
        (transformers.own, ProceduralText, "token ids"),
    ],
)
def test_by_teacher(make, recipe, why):
    chosen = choose_recipe(make())
    assert type(chosen.recipe) is recipe and why in chosen.reason


def test_students_that_inherit_learn_features_where_statistics_guide_the_images():
    chosen = choose_recipe(small_network(), inherits=True)
    assert chosen.recipe.features > 0 and "features" in chosen.reason
    for make in (plain_network, black_box):
        assert choose_recipe(make(), inherits=True).recipe.features == 0


@pytest.mark.parametrize(
    ("make", "shallower", "lower"),
    [(small_network, True, True), (small_network, False, False), (plain_network, False, True)],
)
def test_students_that_begin_near_their_teacher_learn_at_a_lower_rate(make, shallower, lower):
    afresh, inheriting = choose_recipe(make()), choose_recipe(make(), True, shallower)
    rates = [chosen.recipe.learning_rate for chosen in (afresh, inheriting)]
    assert (0 < rates[1] < rates[0] / 2) if lower else rates[0] == rates[1]


def test_students_with_fewer_layers_that_begin_afresh_learn_features_everywhere():
    teacher = tfkd.students.resnet(14, (12, 12, 3), CLASSES, (4, 4, 8))
    recipe = choose_recipe(teacher, shallower=True).recipe
    assert recipe.features > 0 and recipe.features_at == "convolutions"
    assert recipe.learning_rate > choose_recipe(teacher).recipe.learning_rate
    student = tfkd.students.scale_depth(teacher, 0.6)
    _, (hint, _) = recipe.build_student_losses(teacher, student, task_of(teacher))
    convolutions = {each.name for each in student.layers if isinstance(each, layers.Conv2D)}
    assert set(hint.get_config()["student_layer"]) == convolutions
    assert choose_recipe(plain_network(), shallower=True).recipe.features == 0


def images_teacher(shape, normalized=True):
    inputs = keras.Input(shape)
    x = layers.Conv2D(2, 3)(inputs)
    x = layers.BatchNormalization()(x) if normalized else x
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("shape", "normalized", "recipe"),
    [
        ((12, 12, 3), True, PicturePrior()),
        ((12, 12, 3), False, Procedural(prior=("pictures", "strokes"))),
        ((12, 12, 1), True, GuidedPrior(prior=("pictures", "strokes", "silhouettes"))),
        ((12, 12, 1), False, Procedural()),
        ((40, 10, 1), True, GuidedPrior()),
    ],
)
def test_pictures_are_for_colours_and_where_statistics_choose_among_them(shape, normalized, recipe):
    assert choose_recipe(images_teacher(shape, normalized)).recipe == recipe


def test_large_images_come_in_small_batches():
    for make in (lambda shape: choose_recipe(images_teacher(shape)).recipe, of_ranges):
        small, large, huge = (make((side, side, 3)).batch_size for side in (32, 224, 2000))
        assert large * 4 <= small and huge == 8
        assert large * 224 * 224 * 3 <= 6e6 < 2 * large * 224 * 224 * 3


def of_ranges(shape):
    return calibrating_recipe(images_teacher(shape))


def test_spectrograms_are_neither_pictures_nor_mirrored():
    for shape in ((40, 10, 1), (40, 1, 10)):
        inputs = keras.Input(shape)
        x = layers.Flatten()(layers.BatchNormalization()(layers.Conv2D(2, (3, 1))(inputs)))
        chosen = choose_recipe(keras.Model(inputs, layers.Dense(CLASSES)(x)), inherits=True).recipe
        assert chosen == GuidedPrior(features=chosen.features) and chosen.features > 0


@pytest.mark.eager
def test_what_is_chosen_teaches():
    teacher = small_network(4)
    student = tfkd.students.scale_width(teacher, 0.5, inherit=True)
    recipe = choose_recipe(teacher, inherits=True).recipe
    small = {"batch_size": 8, "memory": 16, "chains": 24, "chain_moves": 1, "replay_steps": 1}
    recipe = recipe.with_options(**small, warmup_steps=1, epochs=1, steps_per_epoch=2)
    distiller = tfkd.DataFreeDistiller(teacher, student, recipe)
    distiller.compile()
    assert np.isfinite(distiller.fit(verbose=0).history["loss"]).all()
