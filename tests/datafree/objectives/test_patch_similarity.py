"""The entropy of similarities between patches, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.conftest import small_network, small_vit
from tfkd.datafree.objectives import PatchSimilarity, Synthesized, patch_similarity_entropy

TOKENS = np.random.default_rng(0).normal(0.4, 1, (3, 6, 5)).astype("float32")


def by_hand(tokens, bandwidth):
    """The entropy of one image, by a fine sum over a wide range."""
    directions = tokens.astype("float64") / np.linalg.norm(tokens, axis=-1, keepdims=True)
    n = len(tokens)
    cosines = [directions[i] @ directions[j] for i in range(n) for j in range(i)]
    points = np.linspace(-3, 3, 20001)
    kernels = np.exp(-(((points[:, None] - cosines) / bandwidth) ** 2) / 2)
    density = kernels.mean(axis=1) / (bandwidth * np.sqrt(2 * np.pi))
    return -(density * np.log(density + 1e-300)).sum() * (points[1] - points[0])


@pytest.mark.parametrize("bandwidth", [0.05, 0.3])
@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_values(bandwidth, jit_compile):
    def function(tokens):
        return patch_similarity_entropy(tokens, bandwidth)

    entropies = function if jit_compile is None else tf.function(function, jit_compile=jit_compile)
    expected = [by_hand(each, bandwidth) for each in TOKENS]
    np.testing.assert_allclose(entropies(TOKENS), expected, rtol=1e-3)
    np.testing.assert_allclose(entropies(TOKENS[:1]), expected[:1], rtol=1e-3)


def test_lengths_maps_and_precision_do_not_matter():
    expected = patch_similarity_entropy(TOKENS)
    np.testing.assert_allclose(patch_similarity_entropy(7 * TOKENS), expected, rtol=1e-4)
    np.testing.assert_allclose(patch_similarity_entropy(TOKENS.reshape(3, 2, 3, 5)), expected, rtol=1e-6)
    assert patch_similarity_entropy(TOKENS.astype("float16")).dtype == "float32"


def test_a_token_in_front_of_a_square_is_left_out():
    patches = TOKENS[:, :4]
    with_class = np.concatenate([9 * TOKENS[:, 5:], patches], axis=1)
    np.testing.assert_allclose(patch_similarity_entropy(with_class), patch_similarity_entropy(patches))


def test_patches_that_are_alike_have_the_entropy_of_one_kernel():
    alike = np.ones((1, 4, 3), "float32")
    expected = 0.5 * np.log(2 * np.pi * np.e * 0.05**2)
    np.testing.assert_allclose(patch_similarity_entropy(alike), [expected], rtol=1e-3)


@pytest.mark.parametrize("scale", [0.0, 1e4], ids=["zeros", "large"])
def test_the_gradient_is_finite(scale):
    tokens = tf.constant(scale * TOKENS)
    with tf.GradientTape() as tape:
        tape.watch(tokens)
        entropy = patch_similarity_entropy(tokens)
    assert np.isfinite(tape.gradient(entropy, tokens)).all()


def test_the_objective_adds_up_layers_and_lowers_what_is_alike():
    batch = Synthesized(None, None, teacher_seen=(TOKENS, (TOKENS[:, :4], "scores")))
    expected = sum(np.mean(patch_similarity_entropy(each)) for each in (TOKENS, TOKENS[:, :4]))
    np.testing.assert_allclose(PatchSimilarity().value(batch), -expected, rtol=1e-5)


def test_attention_layers_are_found_where_there_are_some():
    assert PatchSimilarity().taps(small_vit(2)) == ("attention0", "attention1")
    assert PatchSimilarity(layers=("attention1",)).taps(small_vit(2)) == ("attention1",)
    nested = keras.Sequential([keras.Input((12, 12, 1)), small_vit(name="inner"), layers.Dense(4)])
    assert PatchSimilarity().taps(nested) == ("inner/attention0",)
    assert "no attention layer" in PatchSimilarity().problem(small_network(4))


@pytest.mark.parametrize("shape", [(2, 5), (2, 1, 5), (2, 3, 3, 3, 5)])
def test_what_has_no_two_patches_is_refused(shape):
    with pytest.raises(ValueError, match=r"`tokens` must be .* Received: shape \(2, "):
        patch_similarity_entropy(np.ones(shape, "float32"))


def test_a_bandwidth_out_of_range_is_refused():
    with pytest.raises(ValueError, match="`bandwidth` must be"):
        PatchSimilarity(bandwidth=0.0)
