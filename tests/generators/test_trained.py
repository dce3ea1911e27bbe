"""Generators that are trained."""

import numpy as np
import pytest
import tensorflow as tf

from generators import (
    ConditionalGenerator,
    ConvGenerator,
    DenseGenerator,
    NoisyLabelGenerator,
    default_embeddings,
)
from tests import harness
from tests.generators.registry import EMBEDDINGS


def test_conv_generator_trains():
    generator = ConvGenerator((12, 12, 1), latent_size=6, filters=4)
    before = harness.snapshot(generator)
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(generator(generator.draw_latent(8, seed=0), training=True) ** 2)
    gradients = tape.gradient(value, generator.trainable_variables)
    assert all(g is not None for g in gradients)
    # Batch statistics were used, so the moving ones have moved by a tenth.
    index = [w.path.endswith("map_norm/moving_variance") for w in generator.weights].index(True)
    assert (generator.weights[index].numpy() != before[index]).all()


def test_conv_generator_normalized_output_has_the_given_statistics():
    generator = ConvGenerator(
        (16, 16, 3), 10, 8, output="normalized", pixel_mean=(0.1, 0.5, 0.9), pixel_std=0.3
    )
    images = generator(generator.draw_latent(64, seed=0), training=True).numpy()
    np.testing.assert_allclose(images.mean((0, 1, 2)), (0.1, 0.5, 0.9), atol=1e-3)
    np.testing.assert_allclose(images.std((0, 1, 2)), 0.3, atol=1e-2)


def test_conv_generator_batch_norm_settings():
    generator = ConvGenerator((8, 8, 1), 4, 4, output="normalized", epsilon=0.8)
    norms = {layer.name: layer for layer in generator.network.layers if "norm" in layer.name}
    assert {n.momentum for n in norms.values()} == {0.9}
    assert norms["map_norm"].epsilon == 1e-5 and norms["norm1"].epsilon == 0.8
    last = generator.network.get_layer("standardize")
    assert not last.trainable_variables and last.epsilon == 1e-5


def test_dense_generator_says_what_its_values_are():
    latents = 20 * np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    bounded, unbounded = (DenseGenerator((3, 2), 4, (8,), output=o) for o in ("sigmoid", "unbounded"))
    unbounded.set_weights(bounded.get_weights())
    values = unbounded(latents).numpy()
    assert values.shape == (64, 3, 2) and values.min() < 0 < 1 < values.max()
    np.testing.assert_allclose(bounded(latents), tf.sigmoid(values), atol=1e-6)


def test_conditional_generator_draws_every_class():
    generator = ConditionalGenerator((8, 8, 1), 3, 4, filters=4)
    draw = generator.draw(200, seed=0)
    assert np.bincount(draw.labels, minlength=3).min() > 40
    np.testing.assert_array_equal(draw.labels, generator.draw(200, seed=0).labels)
    # Labels do not follow from the first latents.
    assert abs(np.corrcoef(draw.labels, draw.latent[:, 0])[0, 1]) < 0.2
    without, in_turn = generator(draw.latent), generator(draw.latent, labels=np.arange(200) % 3)
    np.testing.assert_array_equal(without, in_turn)


def test_noisy_label_generator_holds_each_class_in_turn():
    generator = NoisyLabelGenerator((8, 8, 1), EMBEDDINGS, batch_size=8, noise_size=6, filters=4)
    draw = generator.draw(8, seed=0)
    assert draw.latent.shape == (8, 0)
    np.testing.assert_array_equal(draw.labels, np.arange(8) % 3)
    images = generator.make(draw).numpy()
    # Of the same class, but through other noisy layers, since each draw redraws them.
    assert np.abs(images[0] - images[3]).max() > 1e-3
    generator.draw(8, seed=1)
    assert np.abs(generator.make(draw) - images).max() > 1e-3


def test_noisy_label_generator_computes_what_it_says():
    generator = NoisyLabelGenerator((8, 8, 1), EMBEDDINGS, batch_size=8, noise_size=6, filters=4)
    draw = generator.draw(5, seed=0, labels=[2, 2, 0, 1, 2])
    known = EMBEDDINGS[[2, 2, 0, 1, 2]] / np.sqrt(1 + 1e-5)
    mixed = np.stack([row @ generator.noise.numpy()[i // 3] for i, row in enumerate(known)])
    np.testing.assert_allclose(generator.make(draw), generator.network(mixed), rtol=1e-4)


def test_noisy_label_generator_refuses_more_than_a_batch():
    generator = NoisyLabelGenerator((8, 8, 1), default_embeddings(3), 8, 6, filters=4)
    for make in (lambda: generator.sample(9), lambda: generator(np.zeros((9, 0), "float32"))):
        with pytest.raises(ValueError, match=r"`n` must be at most the batch size, 8. Received: n=9"):
            make()
