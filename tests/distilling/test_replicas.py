"""The distiller under `tf.distribute`: what Keras builds, where models are made, uneven batches."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd import schemes

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.arange(16) % 4

pytestmark = pytest.mark.eager


def network(width, name):
    hidden = layers.Dense(width, activation="tanh")
    return keras.Sequential([keras.Input((6,)), hidden, layers.Dense(4)], name=name)


def distiller(student=None, loss=None, metrics=None):
    loss = loss or tfkd.losses.SoftTargets(4.0)
    student = student or network(4, "student")
    made = tfkd.Distiller(network(6, "teacher"), student, loss, student_loss_weight=0.0)
    made.compile(keras.optimizers.SGD(0.1), LABELS_LOSS, metrics=metrics)
    return made


def test_metrics_wait_for_labels(strategy):
    with strategy.scope():
        model = distiller(metrics=["accuracy"])
    logs = model.fit(X, batch_size=8, verbose=0, validation_data=(X, Y)).history
    assert "accuracy" not in logs and 0 <= logs["val_accuracy"][0] <= 1
    assert np.isfinite(logs["loss"] + logs["val_loss"]).all()


def test_students_that_teach_each_other_ask_for_labels(strategy):
    with strategy.scope():
        model = schemes.MutualDistiller([network(6, "first"), network(4, "second")])
        model.compile("sgd", LABELS_LOSS, metrics=["accuracy"])
    with pytest.raises(ValueError, match="`y` is missing: students that teach each other"):
        model.fit(X, batch_size=8, verbose=0)


@pytest.mark.parametrize("examples", [1, 3])
def test_first_batches_may_be_of_any_size(examples, strategy):
    with strategy.scope():
        model = distiller()
    assert np.isfinite(model.fit(X[:examples], batch_size=8, verbose=0).history["loss"]).all()


@pytest.mark.graph
@pytest.mark.parametrize("steps", [2, 3, 8])
def test_steps_per_execution_change_nothing(steps, strategy):
    """Plain Keras fails with several replicas; neither 3 nor 8 divides the four steps."""
    logs, weights = [], []
    for at_once in (1, steps):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = distiller(metrics=["accuracy"])
            model.compile("sgd", LABELS_LOSS, ["accuracy"], steps_per_execution=at_once, jit_compile=False)
        logs.append(model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history)
        weights.append(model.student.get_weights())
        assert int(model.optimizer.iterations.numpy()) == 8
    assert logs[0] == logs[1]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_teacher_may_be_made_outside(strategy):
    teacher = network(6, "teacher")
    with strategy.scope():
        model = distiller()
        model.teacher = teacher
    assert np.isfinite(model.fit(X, batch_size=8, verbose=0).history["loss"]).all()


REMEDY = "Create or load it and the distiller within the same `with strategy.scope"


def test_what_is_trained_is_made_under_the_distiller_s_strategy(strategy):
    student, drawing = network(4, "outside"), tfkd.losses.RelativeDissimilarity(triplets=9)
    with strategy.scope():
        with pytest.raises(ValueError, match=f"`student` must be created .*'outside'.*{REMEDY}"):
            distiller(student)
        with pytest.raises(ValueError, match=f"`distillation_losses` must be .*dissimilarity.*{REMEDY}"):
            distiller(loss=drawing)
        with pytest.raises(ValueError, match=r"`students\[1\]` must be created .*'outside'"):
            schemes.MutualDistiller([network(3, "inside"), student])
        inside = network(4, "inside")
    with pytest.raises(ValueError, match="`student` must be created under the strategy"):
        distiller(inside)


def test_fit_within_a_scope_of_what_was_made_outside(strategy):
    model = distiller()
    with strategy.scope(), pytest.raises(ValueError, match="`student` must be created under the strategy"):
        model.fit(X, batch_size=8, verbose=0)
    assert np.isfinite(model.fit(X, batch_size=8, verbose=0).history["loss"]).all()


def test_loading_within_the_scope_follows_the_remedy(strategy, tmp_path):
    network(4, "student").save(tmp_path / "student.keras")
    with strategy.scope():
        model = distiller(keras.models.load_model(tmp_path / "student.keras"))
    assert np.isfinite(model.fit(X, batch_size=8, verbose=0).history["loss"]).all()
