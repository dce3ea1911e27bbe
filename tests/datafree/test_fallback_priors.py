"""What stands in for priors of images where a teacher takes something else."""

import keras
import numpy as np
import pytest
from keras import layers

import generators
import tfkd
from tests.datafree.recipes import TINY
from tfkd import datafree
from tfkd.tasks import Classification

LOW, HIGH = np.array([-6, 10], "float32"), np.array([6, 70], "float32")


def network(shape, *before):
    inputs = x = keras.Input(shape)
    for layer in before:
        x = layer(x)
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(3)(x), name="net")


def adapted(mean=(0.0, 40.0), variance=(4.0, 100.0)):
    return layers.Normalization(mean=mean, variance=variance)


def fitted(teacher, **options):
    with pytest.warns(datafree.ObjectiveWarning):
        return datafree.Procedural(**TINY, **options).for_teacher(teacher, Classification((3,)))


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((7,), {}, "uniform"),
        ((40, 2), {}, "signals"),
        ((9, 8), {}, "smooth_noise"),
        ((40, 10, 1), {}, "signals"),
        ((40, 1, 1), {}, "signals"),
        ((40, 1, 10), {}, "signals"),
        ((2, 3, 4, 1), {}, "smooth_noise"),
        ((40, 2), {"prior": ("pictures", "dead_leaves")}, "signals"),
    ],
    ids=str,
)
def test_what_the_shape_asks_for(shape, options, expected):
    assert fitted(network(shape), **options).prior == (expected,)


@pytest.mark.parametrize("shape", [(12, 12, 1), (40, 30, 1), (40, 10, 3), (40, 1, 3)], ids=str)
def test_images_keep_their_prior(shape):
    recipe = datafree.Procedural(**TINY, statistics_weight=0.0)
    assert recipe.for_teacher(network(shape), Classification((3,))).prior == ("strokes",)


def test_priors_that_were_asked_for_are_kept_for_what_looks_like_a_spectrogram():
    for prior in (("strokes", "silhouettes"), generators.Strokes((40, 10, 1))):
        recipe = datafree.Procedural(**TINY, prior=prior)
        assert recipe.for_teacher(network((40, 10, 1)), Classification((3,))) is recipe


@pytest.mark.parametrize("nested", [False, True])
def test_features_come_in_the_ranges_of_the_normalization(nested):
    teacher = network((2,), adapted())
    teacher = keras.Sequential([keras.Input((2,)), teacher]) if nested else teacher
    recipe = fitted(teacher, memory=32, memory_dtype="uint8")
    (prior,) = recipe.prior
    np.testing.assert_allclose([prior.low, prior.high], [LOW, HIGH], rtol=1e-5)
    # Both would keep them in [0, 1].
    assert recipe.refine_steps == 0 and recipe.memory_dtype == "float32"


def test_a_scaling_in_front_is_undone():
    teacher = tfkd.load_teacher(network((2,), adapted()), mean=(0.6, 1.0), std=(-1 / 12 + 0.2, 1 / 60))
    (prior,) = fitted(teacher).prior
    entering = np.stack([(end - (0.6, 1.0)) / (-1 / 12 + 0.2, 1 / 60) for end in (prior.low, prior.high)])
    np.testing.assert_allclose(entering, [LOW, HIGH], rtol=1e-3)


def test_features_within_the_unit_are_refined():
    recipe = fitted(network((2,), adapted((0.5, 0.4), (0.01, 0.01))))
    (prior,) = recipe.prior
    assert recipe.refine_steps and isinstance(prior, generators.Uniform)


@pytest.mark.parametrize(
    "before",
    [[], [layers.Dense(2, "relu"), adapted()], [adapted(), adapted()], [layers.ReLU(), adapted()]],
    ids=["none", "behind a layer", "two", "behind an activation"],
)
def test_ranges_that_nothing_tells(before):
    assert fitted(network((2,), *before)).prior == ("uniform",)


def test_a_student_learns_from_features_in_their_ranges():
    teacher, student = network((2,), adapted()), network((2,), adapted())
    with pytest.warns(datafree.ObjectiveWarning, match=r"features are not in \[0, 1\]"):
        distiller = tfkd.DataFreeDistiller(teacher, student, datafree.Procedural(**TINY, memory=0), seed=1)
    distiller.compile()
    distiller.fit(epochs=1, steps_per_epoch=1, verbose=0)
    made = distiller.synthesize(200)
    assert (made >= LOW).all() and (made <= HIGH).all() and made[:, 1].max() > 60
