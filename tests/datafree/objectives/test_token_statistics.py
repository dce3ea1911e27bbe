"""Statistics of tokens, measured on crops of photographs, against NumPy."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import generators
from tests.conftest import SHAPE, blobs, small_network, small_vit
from tfkd import datafree
from tfkd.datafree import objectives
from tfkd.datafree.objectives import TokenStatistics
from tfkd.datafree.objectives._image_objective import ImageObjective
from tfkd.datafree.sources import Lesson
from tfkd.tasks import task_of

TERM = TokenStatistics(0.5, pictures=12, seed=3)


@pytest.fixture(scope="module")
def vit() -> keras.Model:
    keras.utils.set_random_seed(2)
    return small_vit(2)


def tokens(vit, images):
    """What leaves both blocks, float64, by the same layers."""
    blocks = keras.Model(vit.input, [vit.get_layer(name).output for name in ("block0", "block1")])
    return [np.asarray(each, "float64") for each in blocks(images)]


def judged(vit, term=TERM):
    lesson = Lesson(vit, small_network(4), task_of(vit), keras.random.SeedGenerator(0))
    return ImageObjective(lesson, (term, objectives.OneHot(1e-9)), 8)


def test_statistics_are_those_of_the_tokens_of_the_pictures(vit):
    stored = TERM.stored(vit)
    assert list(stored) == ["block0", "block1"]
    pictures = generators.Pictures(SHAPE).sample(12, seed=3)
    for (mean, variance, axis), expected in zip(stored.values(), tokens(vit, pictures), strict=True):
        assert axis == -1
        np.testing.assert_allclose(mean, expected.mean((0, 1)), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, expected.var((0, 1)), rtol=1e-4)


def test_the_same_seed_measures_the_same(vit):
    first, again, other = (term.stored(vit) for term in (TERM, TERM, dataclasses.replace(TERM, seed=4)))
    np.testing.assert_array_equal(first["block1"][0], again["block1"][0])
    assert np.abs(first["block1"][0] - other["block1"][0]).max() > 1e-4


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_distances_and_gradients(vit, jit_compile):
    images, _ = blobs(8)
    expected = 0.0
    for (mean, variance, _), seen in zip(TERM.stored(vit).values(), tokens(vit, images), strict=True):
        expected += np.linalg.norm(seen.mean((0, 1)) - mean) + np.linalg.norm(seen.var((0, 1)) - variance)
    judge = judged(vit).value_and_gradients
    if jit_compile is not None:
        judge = tf.function(judge, autograph=False, jit_compile=jit_compile)
    total, gradient, _ = judge(tf.constant(images))
    np.testing.assert_allclose(total, 0.5 * expected, rtol=1e-3)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-5


@pytest.mark.eager
def test_what_was_measured_costs_nothing_and_noise_does(vit):
    judge = judged(vit, dataclasses.replace(TERM, norm="gaussian_kl"))
    pictures = generators.Pictures(SHAPE).sample(12, seed=3)
    noise = keras.random.uniform((12, *SHAPE), seed=0)
    of_pictures, of_noise = (float(judge.value_and_gradients(each)[0]) for each in (pictures, noise))
    assert abs(of_pictures) < 1e-3 < 0.1 < of_noise


@pytest.mark.eager
def test_layers_can_be_named(vit):
    assert list(dataclasses.replace(TERM, layers=("norm1",)).stored(vit)) == ["norm1"]
    assert TokenStatistics(layers=("relu1",)).problem(small_network(4)) is None


@pytest.mark.eager
def test_all_calls_of_a_block_are_measured():
    inputs = keras.Input(SHAPE)
    block = layers.Dense(1, name="block")
    network = keras.Model(inputs, block(block(inputs)))
    images, _ = blobs(4)
    once = np.asarray(block(images), "float64")
    both = np.stack([once, np.asarray(block(once))])
    mean, variance = datafree.measure(network, images, ["block"])["block"]
    np.testing.assert_allclose(mean, [both.mean()], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(variance, [both.var()], rtol=1e-4)


@pytest.mark.eager
def test_a_teacher_without_blocks_has_none():
    network = small_network(4)
    expected = "it has no transformer blocks, so there are no tokens to measure"
    assert TokenStatistics().problem(network) == expected
    with pytest.warns(datafree.ObjectiveWarning, match="TokenStatistics is left out"):
        assert [type(term) for term in judged(network).objectives] == [objectives.OneHot]


@pytest.mark.eager
def test_the_recipe_has_it_by_its_weight():
    assert not any(isinstance(each, TokenStatistics) for each in datafree.PSAQViT().build_objectives())
    recipe = datafree.PSAQViT(token_statistics=0.1)
    assert TokenStatistics(0.1) in recipe.build_objectives()


@pytest.mark.eager
@pytest.mark.parametrize("options", [{"pictures": 0}, {"norm": "l1"}, {"momentum": 1.0}])
def test_bad_options_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        TokenStatistics(**options)
