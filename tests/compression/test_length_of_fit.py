"""Pruning that follows the length of `fit`, and what is said if it does not get to its end."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.conftest import blobs, small_network
from tfkd import compression

pytestmark = pytest.mark.slow

X, Y = blobs(48)
LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def fit(model, epochs=3, **options):
    model.compile("adam", LABELS_LOSS)
    return model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, **options)


def stripped_sparsity(student):
    with warnings.catch_warnings():
        warnings.simplefilter("error", compression.PruningWarning)
        return compression.sparsity(compression.strip(student))


@pytest.mark.parametrize("distribution", ["uniform", "lamp"])
@pytest.mark.parametrize("trained_by", ["itself", "distiller", "data_free", "unknown_length"])
def test_a_short_fit_reaches_the_sparsity(teacher, trained_by, distribution):
    student = compression.prune(small_network(4), 0.8, distribution=distribution)
    if trained_by == "itself":
        fit(student)
    elif trained_by == "distiller":
        fit(tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets()))
    elif trained_by == "data_free":
        recipe = tfkd.datafree.Procedural(batch_size=8, microbatches=2)
        distiller = tfkd.DataFreeDistiller(teacher, student, recipe)
        distiller.compile()
        distiller.fit(epochs=2, steps_per_epoch=3, verbose=0)
    else:
        student.compile("adam", LABELS_LOSS)
        examples = tf.data.Dataset.from_tensor_slices((X, Y)).filter(lambda x, y: True).batch(16)
        student.fit(examples, epochs=4, verbose=0, shuffle=False)
    assert stripped_sparsity(student) == pytest.approx(0.8, abs=0.02)


def test_sparsity_grows_over_the_first_part_of_a_run_and_stays():
    student = compression.prune(small_network(4), 0.8)
    shares = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: shares.append(np.mean(student.get_weights()[0] == 0))
    )
    fit(student, 10, callbacks=[note])
    assert 0 < shares[0] < shares[2] < shares[5] == pytest.approx(shares[-1])
    fit(student, 1)
    assert np.mean(student.get_weights()[0] == 0) == pytest.approx(shares[-1])


def test_a_resumed_run_prunes_as_one_that_was_not_interrupted(tmp_path):
    weights = []
    for parts in ([(0, 6)], [(0, 2), (2, 6)]):
        keras.utils.set_random_seed(3)
        student = compression.prune(small_network(4), 0.8)
        for begin, end in parts:
            if begin:
                keras.utils.set_random_seed(3)
                student = compression.prune(small_network(4), 0.8)
                student.compile("adam", LABELS_LOSS)
                student.optimizer.build(student.trainable_variables)
                student.load_weights(tmp_path / "state.weights.h5")
            else:
                student.compile("adam", LABELS_LOSS)
            stop = keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs, model=student, last=end - 1: setattr(
                    model, "stop_training", epoch == last
                )
            )
            student.fit(X, Y, 16, initial_epoch=begin, epochs=6, shuffle=False, verbose=0, callbacks=[stop])
            student.save_weights(tmp_path / "state.weights.h5")
        weights.append(compression.strip(student).get_weights())
    for whole, resumed in zip(*weights, strict=True):
        np.testing.assert_allclose(whole, resumed, rtol=1e-5, atol=1e-6)


def test_a_saved_student_goes_on(tmp_path):
    student = compression.prune(small_network(4), 0.8)
    student.compile("adam", LABELS_LOSS)
    student.save(tmp_path / "pruned.keras")
    loaded = keras.models.load_model(tmp_path / "pruned.keras")
    fit(loaded)
    assert stripped_sparsity(loaded) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("updates", [0, 3])
def test_what_was_not_reached_is_said(updates):
    student = compression.prune(small_network(4), 0.8, schedule=(0, 1000))
    if updates:
        fit(student, 1)
    said = rf"Sparsity is .*%, below the 80\.0% asked for: training ended after {updates} updates"
    with pytest.warns(compression.PruningWarning, match=said):
        compression.strip(student)
