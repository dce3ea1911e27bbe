"""Markov chains through a prior: their distribution, their order, and where a teacher leads them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from generators import Generator
from tests.conftest import CLASSES
from tests.datafree.recipes import TINY_INVERSION, make
from tfkd import datafree, taps
from tfkd.datafree.objectives._moments import recorded, stored_statistics
from tfkd.datafree.sources import Lesson
from tfkd.datafree.sources._chains import Chains
from tfkd.datafree.sources._selection import bn_statistics_distance
from tfkd.tasks import Classification

pytestmark = pytest.mark.slow


class Plain(Generator):
    """Shows its latent."""

    procedural = True

    def __init__(self):
        super().__init__((1, 3, 1), 3)
        self.built = True

    def call(self, latent, training=None):
        return latent[:, None, :, None]


def towards_2(images, wanted):
    """A Gaussian of mean 2 and deviation a half around the first number; logits carry it and the class."""
    first = images[:, 0, 0, 0]
    logits = tf.stack([first, tf.cast(wanted, "float32")], axis=-1)
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
        batch_size=32,
        chains=64,
        chain_moves=40,
        statistics_weight=40.0,
        prior=("strokes", "silhouettes"),
        refine_share=0.0,
    )
    source = recipe.build_source(lesson(teacher, teacher))
    stored = stored_statistics(teacher)

    def judged(images):
        with taps.record(teacher, stored) as record:
            logits = teacher(images, training=False).numpy()
        return float(np.mean(bn_statistics_distance(recorded(record, stored)))), logits

    untouched, logits = judged(source.draw_prior(32))
    apart = np.abs(np.bincount(logits.argmax(-1), minlength=CLASSES) - 32 / CLASSES).sum()
    draw = tf.function(source.draw) if graph else source.draw
    images, logits = draw(32)
    reached, expected = judged(images)
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert reached < 0.8 * untouched
    counts = np.bincount(expected.argmax(-1), minlength=CLASSES)
    assert np.abs(counts - 32 / CLASSES).sum() < apart
    # Both priors have chains of their own, and half of the batch each.
    assert [chains.count for chains in source.chains] == [32, 32]
    assert [int(chains.drawn) for chains in source.chains] == [16, 16]


def lesson(teacher, student):
    return Lesson(teacher, student, Classification((CLASSES,)), keras.random.SeedGenerator(0))


def surely(teacher, student, **options):
    """What 40 chains come to: logits, and how likely each is of its own class."""
    recipe = datafree.Procedural(batch_size=40, chains=40, refine_share=0.0, **options)
    source = recipe.build_source(lesson(teacher, student))
    images, logits = source.walk(40, recipe.disagreement)
    own = tf.gather(tf.nn.softmax(logits), np.arange(40) % CLASSES, batch_dims=1)
    return images, logits, float(np.mean(own))


def test_a_chain_becomes_one_of_its_class(teacher):
    *_, before = surely(teacher, teacher, chain_moves=1)
    *_, after = surely(teacher, teacher, chain_moves=60, class_weight=10.0)
    assert after > before + 0.15


def test_disagreement_leads_chains_to_what_the_student_gets_wrong(teacher, student):
    def disagreement(weight):
        images, logits, _ = surely(teacher, student, chain_moves=40, class_weight=0.0, disagreement=weight)
        theirs, ours = tf.nn.log_softmax(logits), tf.nn.log_softmax(student(images, training=False))
        return float(tf.reduce_mean(tf.reduce_sum(tf.exp(theirs) * (theirs - ours), -1)))

    assert disagreement(8.0) > 1.2 * disagreement(0.0)


def test_what_is_no_number_is_left_and_never_gone_to():
    seed = keras.random.SeedGenerator(0)
    chains = Chains(Plain(), 500, 2, seed)

    def positive(images, wanted):
        first = images[:, 0, 0, 0]
        return tf.zeros((500, 2)), tf.where(first > 0, first * 0, np.nan)

    chains.draw(500, 40, positive, seed)
    assert np.mean(chains.latents.numpy()[:, 0] > 0) > 0.98


def test_more_than_there_are_cannot_be_drawn():
    chains = Chains(Plain(), 7, 3, keras.random.SeedGenerator(0))
    with pytest.raises(ValueError, match="at most 7"):
        chains.draw(8, 1, towards_2, None)


def calls(monkeypatch, owner, name):
    """A list of what a method is called with from now on; it does what it did."""
    seen, method = [], getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *given: seen.append(given) or method(*given))
    return seen


def test_chains_walk_in_warm_up_without_the_student(teacher, monkeypatch):
    recipe = datafree.GuidedPrior(
        batch_size=16, chains=64, chain_moves=2, warmup_steps=3, disagreement=1.0, memory=32
    )
    distiller = make(teacher, recipe)
    walks = calls(monkeypatch, distiller.source, "walk")
    before = [chains.latents.numpy() for chains in distiller.source.chains]
    with pytest.warns(UserWarning, match="not trained"):
        distiller.fit(epochs=1, steps_per_epoch=3, verbose=0)
    assert {disagreement for _, disagreement in walks} == {0.0}
    for chains, latents in zip(distiller.source.chains, before, strict=True):
        assert int(chains.drawn) == 3 * 8
        moved = (chains.latents.numpy() != latents).any(1)
        assert moved[:24].mean() > 0.5 and not moved[24:].any()
    assert not int(distiller.memory.size)


def test_inversions_begin_where_chains_are_and_go_on_to_their_classes(teacher, monkeypatch):
    recipe = datafree.DeepInversion(
        **TINY_INVERSION, start="prior", prior_share=0.5, chains=16, chain_moves=2
    )
    distiller = make(teacher, recipe)
    assert distiller.images_made(1) == 8 + (8 + 8) * 3
    inverted = calls(monkeypatch, distiller.source.inversion, "make")
    distiller.source.fill(tf.zeros(()))
    _, targets, start, _ = inverted[0]
    np.testing.assert_array_equal(targets, np.argmax(teacher(start, training=False), -1))
    assert int(distiller.source.prior.chains[0].drawn) == 16


def test_a_black_box_is_asked_as_often_as_is_counted(teacher):
    box = tfkd.BlackBoxTeacher(
        lambda images: tf.nn.softmax(teacher(images, training=False)).numpy(),
        teacher.input_shape[1:],
        CLASSES,
    )
    recipe = datafree.GuidedPrior(
        prior=("strokes",),
        batch_size=16,
        chains=32,
        chain_moves=3,
        statistics_weight=0.0,
        warmup_steps=1,
        memory=32,
    )
    distiller = make(box, recipe)
    distiller.fit(epochs=1, steps_per_epoch=3, verbose=0)
    assert box.queries == distiller.images_made(3)


def test_there_are_chains_for_a_batch_and_for_all_classes(teacher, student):
    for recipe, least in (
        (datafree.GuidedPrior(batch_size=128, chains=200), 256),
        (datafree.GuidedPrior(batch_size=2, chains=2 * CLASSES - 1), 2 * CLASSES),
        (datafree.DeepInversion(**{**TINY_INVERSION, "inversion_batch": 16}, chains=15, start="prior"), 16),
    ):
        with pytest.raises(ValueError, match=f"`chains` must be 0 or at least {least}:"):
            tfkd.DataFreeDistiller(teacher, student, recipe)
    with pytest.raises(ValueError, match="prior_share"):
        datafree.DeepInversion(prior_share=1.0, chains=512)
