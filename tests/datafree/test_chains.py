"""Markov chains through a prior: their distribution, their order, and where a teacher leads them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from generators import Generator
from tests.conftest import CLASSES
from tfkd import datafree, taps
from tfkd.datafree.chains import Chains
from tfkd.datafree.moments import recorded, stored_statistics
from tfkd.datafree.selection import misfit
from tfkd.datafree.synthesis import Synthesizer


class Plain(Generator):
    """Shows its latent."""

    procedural = True

    def __init__(self):
        super().__init__((1, 3, 1), 3)
        self.built = True

    def call(self, latent, training=None):
        return latent[:, None, :, None]


def towards_2(images, classes):
    """A Gaussian of mean 2 and deviation a half around the first number; logits carry it and the class."""
    first = images[:, 0, 0, 0]
    logits = tf.stack([first, tf.cast(classes, "float32")], axis=-1)
    return logits, -0.5 * ((first - 2) / 0.5) ** 2


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
def test_chains_reach_the_distribution_that_is_known(jit_compile):
    """A Gaussian prior times a Gaussian is one of mean 2 / (1 + 1/4) and variance 1 / (1 + 4)."""
    seed = keras.random.SeedGenerator(0)
    chains = Chains(Plain(), 4000, 2, seed)

    def draw():
        return chains.draw(4000, 60, towards_2, seed)

    if jit_compile is not None:
        draw = tf.function(draw, jit_compile=jit_compile)
    images, logits = draw()
    latents = chains.latents.numpy()
    np.testing.assert_array_equal(images[:, 0, :, 0], latents)
    np.testing.assert_array_equal(logits[:, 0], latents[:, 0])
    np.testing.assert_allclose(latents.mean(0), [1.6, 0, 0], atol=0.06)
    np.testing.assert_allclose(latents.var(0), [0.2, 1, 1], atol=0.08)
    np.testing.assert_allclose(np.corrcoef(latents.T), np.eye(3), atol=0.08)


def test_chains_take_turns_and_keep_their_classes():
    seed = keras.random.SeedGenerator(0)
    chains = Chains(Plain(), 7, 3, seed)
    before = chains.latents.numpy()
    _, logits = chains.draw(5, 30, towards_2, seed)
    np.testing.assert_array_equal(logits[:, 1], [0, 1, 2, 0, 1])
    moved = (chains.latents.numpy() != before).any(1)
    np.testing.assert_array_equal(moved, [True] * 5 + [False] * 2)
    _, logits = chains.draw(5, 0, towards_2, seed)
    np.testing.assert_array_equal(logits[:, 1], [2, 0, 0, 1, 2])
    np.testing.assert_array_equal(logits[:, 0], chains.latents.numpy()[[5, 6, 0, 1, 2], 0])
    assert int(chains.drawn) == 10


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_a_teacher_leads_chains_to_typical_images_of_their_classes(teacher, graph):
    recipe = datafree.Procedural(
        overdraw=1,
        batch_size=32,
        chains=64,
        chain_moves=40,
        typicality=40.0,
        prior=("strokes", "silhouettes"),
    )
    synthesizer = Synthesizer(teacher, teacher, recipe, None, keras.random.SeedGenerator(0))
    stored = stored_statistics(teacher)

    def judged(images):
        with taps.record(teacher, stored) as record:
            logits = teacher(images, training=False).numpy()
        return float(np.mean(misfit(recorded(record, stored)))), logits

    untouched, logits = judged(synthesizer._draw_prior(32))
    apart = np.abs(np.bincount(logits.argmax(-1), minlength=CLASSES) - 32 / CLASSES).sum()
    draw = tf.function(synthesizer._walk) if graph else synthesizer._walk
    images, logits = draw(32)
    reached, expected = judged(images)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert reached < 0.8 * untouched
    counts = np.bincount(expected.argmax(-1), minlength=CLASSES)
    assert np.abs(counts - 32 / CLASSES).sum() < apart
    # Both priors have chains of their own, and half of the batch each.
    assert [chains.count for chains in synthesizer.chains] == [32, 32]
    assert [int(chains.drawn) for chains in synthesizer.chains] == [16, 16]


def test_disagreement_leads_chains_to_what_the_student_gets_wrong(teacher, student):
    def disagreement(weight):
        recipe = datafree.Procedural(
            overdraw=1, batch_size=32, chains=32, chain_moves=30, sureness=1.0, disagreement=weight
        )
        synthesizer = Synthesizer(teacher, student, recipe, None, keras.random.SeedGenerator(0))
        images, logits = synthesizer._walk(32)
        theirs, ours = tf.nn.log_softmax(logits), tf.nn.log_softmax(student(images, training=False))
        return float(tf.reduce_mean(tf.reduce_sum(tf.exp(theirs) * (theirs - ours), -1)))

    assert disagreement(5.0) > disagreement(0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chains": -1}, "chains"),
        ({"chains": 100}, "at least 128"),
        ({"chains": 300, "overdraw": 2}, "overdraw"),
        ({"chains": 300, "chain_moves": 0}, "chain_moves"),
        ({"sureness": -1.0}, "sureness"),
        ({"chains": 300, "prior_share": 0.0, "generator_steps": 1}, "chains"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        datafree.Procedural(**{"batch_size": 128, "overdraw": 1, "refine_share": 0.0, **options})


def test_a_batch_of_each_prior_has_chains():
    with pytest.raises(ValueError, match="at least 256"):
        datafree.Procedural(batch_size=128, overdraw=1, chains=200, prior=("strokes", "silhouettes"))
    with pytest.raises(ValueError, match="at least 64"):
        datafree.DeepInversion(inversion_batch=64, memory=128, batch_size=32, chains=63, start="prior")


def test_images_that_chains_look_at_are_counted():
    recipe = datafree.Procedural(
        batch_size=128, overdraw=1, chains=256, chain_moves=7, warmup_steps=10, student_steps=1
    )
    assert recipe.images_per_step() == 128 * 8
    assert recipe.images_made(30) == 30 * 128 * 8
