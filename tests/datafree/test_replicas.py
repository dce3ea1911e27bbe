"""Replicas of `tf.distribute`: each makes inputs of its own, all teach one student."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, small_network
from tests.datafree.painter import Painter
from tests.datafree.recipes import RECIPES, TINY, make
from tfkd import datafree
from tfkd._core.replica_copies import copies
from tfkd.datafree import objectives
from tfkd.datafree.sources import Batch

pytestmark = pytest.mark.slow

# A prior with chains and memory; a generator; images made by steps in a loop, with something trained along.
KINDS = ["guided prior", "dfad with prior and memory", "cmi"]


def backup(folder):
    return keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)


class StopAfter(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_done.numpy() == 3:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", KINDS)
def test_each_replica_has_its_own_images_and_a_run_resumes(strategy, tmp_path, name):
    def run(callbacks):
        with strategy.scope():
            keras.utils.set_random_seed(0)
            distiller = make(small_network(8), RECIPES[name], jit_compile=False)
        distiller.fit(epochs=2, steps_per_epoch=2, verbose=0, callbacks=callbacks)
        return distiller

    whole = run([])
    for variable in (*whole.student.trainable_variables, *whole.teacher.variables):
        first, second = copies(variable)
        np.testing.assert_array_equal(first, second, err_msg=variable.path)
    first, second = (copy.numpy() for copy in copies(whole.memory.images))
    filled = first.any((1, 2, 3)) & second.any((1, 2, 3))
    assert filled.sum() >= 16 and (first != second).any((1, 2, 3))[filled].all()
    with pytest.raises(KeyboardInterrupt):
        run([backup(tmp_path), StopAfter()])
    expected = [[copy.numpy() for copy in copies(variable)] for variable in whole.variables]
    # The same distiller goes on from the other's backup: what that lacks is still as it was at the end.
    whole.fit(epochs=2, steps_per_epoch=2, verbose=0, callbacks=[backup(tmp_path)])
    assert whole.history.epoch == [1]
    for kept, variable in zip(expected, whole.variables, strict=True):
        for value, copy in zip(kept, copies(variable), strict=True):
            np.testing.assert_allclose(copy.numpy(), value, rtol=1e-4, atol=1e-6, err_msg=variable.path)


def plain(width=8, name="plain"):
    """A network that looks at each image alone."""
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(width, 3, 2, activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ],
        name=name,
    )


def assert_near(one, two):
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6, err_msg=a.path)


def by_hand(**options):
    options = {**TINY, "memory": 0, "student_steps": 1, **options}
    return datafree.Recipe(**options)


def distiller_of(recipe):
    keras.utils.set_random_seed(3)
    distiller = tfkd.DataFreeDistiller(plain(), plain(4, "student"), recipe, seed=5)
    distiller.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), jit_compile=False)
    return distiller


def test_two_replicas_learn_as_one_does_of_both_batches(strategy):
    recipe = by_hand(generator_steps=0, prior=["smooth_noise"], microbatches=2)
    with strategy.scope():
        two, drawing = distiller_of(recipe), distiller_of(recipe)
    drawn = strategy.run(lambda: drawing.source.draw(recipe.batch_size))
    images = [part.numpy() for part in strategy.experimental_local_results(drawn.images)]
    assert not (images[0] == images[1]).all((1, 2, 3)).any()
    history = two.fit(epochs=1, steps_per_epoch=1, verbose=0).history
    one = distiller_of(recipe)
    joined = tf.concat(images, axis=0)
    loss, agreement = one._update_student_once(joined, one.teacher(joined), None)
    assert_near(one.student, two.student)
    assert history["loss"] == pytest.approx([float(loss)], rel=1e-5)
    assert history["agreement"] == pytest.approx([float(agreement)])


def test_a_generator_learns_of_both_batches(strategy, monkeypatch):
    recipe = by_hand(generator_steps=1, objectives=[objectives.Adversarial()])
    monkeypatch.setattr(type(recipe), "build_generator", lambda *_: Painter())
    with strategy.scope():
        two, drawing = distiller_of(recipe), distiller_of(recipe)
    drawn = strategy.run(lambda: drawing.source.draw_latent().latent)
    latents = [part.numpy() for part in strategy.experimental_local_results(drawn)]
    strategy.run(lambda: two.source.before(tf.ones(())) or two.source.after(tf.ones(())))
    one = distiller_of(recipe)
    draw = one.source.draw_latent()._replace(latent=tf.concat(latents, axis=0))
    one.source.update(draw, tf.ones(()))
    assert_near(one.source.generator, two.source.generator)


def test_labels_of_real_examples_count_as_in_one_replica(strategy):
    recipe = by_hand(generator_steps=0, prior=["smooth_noise"], real_share=0.5)
    x, y = np.random.default_rng(0).random((16, *SHAPE), "float32"), np.arange(16) % CLASSES

    def run():
        keras.utils.set_random_seed(3)
        distiller = tfkd.DataFreeDistiller(
            plain(), plain(4, "student"), recipe, seed=5, student_loss_weight=1.0
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        distiller.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=False)
        distiller.fit(x, y, batch_size=16, epochs=1, shuffle=False, verbose=0)
        return distiller.student

    with strategy.scope():
        two = run()
    assert_near(run(), two)


def test_evaluation_and_images_under_a_strategy(strategy):
    with strategy.scope():
        distiller = make(small_network(8), RECIPES["picture prior"], jit_compile=False)
    x, y = np.random.default_rng(0).random((10, *SHAPE), "float32"), np.arange(10) % CLASSES
    history = distiller.fit(epochs=1, steps_per_epoch=1, verbose=0, validation_data=(x, y)).history
    predicted = distiller.student.predict(x, verbose=0).argmax(-1)
    assert history["val_accuracy"] == pytest.approx([np.mean(predicted == y)])
    assert distiller.synthesize(5).shape == (5, *SHAPE)
    before = harness.snapshot(distiller.student)
    distiller.update_student(Batch(tf.constant(x)))
    harness.assert_other_weights(before, distiller.student.weights)
