"""Real examples mixed with synthesized ones."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests import harness
from tests.conftest import CLASSES, blobs, small_network
from tests.datafree.recipes import RECIPES, TINY, TINY_GENERATOR, make
from tfkd import datafree
from tfkd.datafree import boundary_supporting

pytestmark = pytest.mark.slow

X, Y = blobs(64, 2)


def labelled(teacher, recipe, weight=0.5):
    keras.utils.set_random_seed(1)
    distiller = tfkd.DataFreeDistiller(
        teacher, small_network(4), recipe, seed=1, student_loss_weight=weight
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    distiller.compile(loss=loss, metrics=["accuracy"])
    return distiller


def test_labels_are_learned_beside_synthesized_images(teacher):
    distiller = labelled(teacher, RECIPES["dfad with prior and memory"])
    before = harness.snapshot(distiller.student)
    history = distiller.fit(X, Y, batch_size=24, epochs=2, validation_data=blobs(32, 3), verbose=0).history
    assert np.isfinite(history["loss"]).all() and "student_loss" in history and "accuracy" in history
    # Three steps in an epoch over 64 examples, the last with a smaller batch.
    assert distiller.steps_done.numpy() == 6
    harness.assert_other_weights(before, distiller.student.weights)


def test_real_and_synthesized_have_their_shares(teacher, monkeypatch):
    recipe = datafree.Procedural(**TINY, memory=0, real_share=0.75)
    distiller = make(teacher, recipe, run_eagerly=True)
    seen, call = [], distiller.student.call

    def noting(images, training=None, **given):
        if training:
            seen.append(images.numpy())
        return call(images, training=training, **given)

    monkeypatch.setattr(distiller.student, "call", noting)
    distiller.fit(X[:12], batch_size=12, epochs=1, verbose=0)
    (images,) = seen
    np.testing.assert_array_equal(np.sort(images[:12].sum((1, 2, 3))), np.sort(X[:12].sum((1, 2, 3))))
    assert len(images) == 16


def test_all_real_is_plain_distillation(teacher):
    """With a share of 1 the step is the one of tfkd.Distiller."""
    recipe = datafree.Procedural(**TINY, memory=0, real_share=1.0, temperature=3.0)
    student = small_network(4)
    copy = keras.models.clone_model(student)
    copy.set_weights(student.get_weights())
    ours = tfkd.DataFreeDistiller(teacher, student, recipe, seed=1)
    ours.compile(keras.optimizers.SGD(0.1))
    plain = tfkd.Distiller(teacher, copy, tfkd.losses.SoftTargets(3.0), student_loss_weight=0.0)
    plain.compile(keras.optimizers.SGD(0.1))
    for distiller in (ours, plain):
        distiller.fit(X, batch_size=16, epochs=1, shuffle=False, verbose=0)
    for expected, weight in zip(copy.get_weights(), student.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


def test_boundary_supporting_samples_lie_just_across(teacher):
    seed = keras.random.SeedGenerator(0)
    attack = tf.function(lambda x: boundary_supporting(x, teacher, seed, steps=30))
    hard, crossed = attack(tf.constant(X))
    assert crossed.numpy().mean() > 0.6
    before, after = (teacher(images).numpy() for images in (X, hard))
    base = before.argmax(-1)
    moved = crossed.numpy()
    assert (after.argmax(-1) != base)[moved].mean() > 0.9
    np.testing.assert_array_equal(hard.numpy()[~moved], X[~moved])
    assert hard.numpy().min() >= 0 and hard.numpy().max() <= 1
    lead = np.take_along_axis(before, base[:, None], 1)[:, 0] - np.sort(before, -1)[:, -2]
    left = after.max(-1) - np.take_along_axis(after, base[:, None], 1)[:, 0]
    # Near the border on its other side.
    assert np.median(left[moved]) < 0.3 * np.median(lead[moved])


def test_bss_learns_with_examples_only(teacher):
    distiller = labelled(teacher, datafree.BSS(**TINY, attack_steps=3, student_flip=True))
    # The last batch is smaller.
    history = distiller.fit(X, Y, batch_size=24, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    with pytest.raises(ValueError, match="`x` is missing: BSS makes its inputs from real examples"):
        distiller.fit(epochs=1)


def test_bad_arguments(teacher):
    distiller = make(teacher, RECIPES["procedural"])
    with pytest.raises(ValueError, match="`y` was given without `x`"):
        distiller.fit(y=Y)
    with pytest.raises(ValueError, match=r"`x` must be float images in \[0, 1\].*uint8"):
        distiller.fit((255 * X).astype("uint8"))
    in_parts = make(teacher, datafree.DFAD(**TINY_GENERATOR, microbatches=2))
    with pytest.raises(ValueError, match="`microbatches` of the recipe must be 1"):
        in_parts.fit(X, epochs=1)
    with pytest.raises(ValueError, match="`y` is missing"):
        labelled(teacher, RECIPES["procedural"]).fit(X, epochs=1, verbose=0)
    with pytest.raises(ValueError, match="`real_share` must be above 0"):
        datafree.Procedural(real_share=0.0)
    assert distiller.classes == CLASSES
