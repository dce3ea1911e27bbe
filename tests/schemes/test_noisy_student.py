"""Noisy Student: the loss, iterations, inputs of every form, resuming, bad input."""

import functools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd import losses, students
from tfkd.schemes import NoisyStudent

pytestmark = pytest.mark.slow

X, Y = blobs(160)
LABELLED, UNLABELLED = (X[:32], Y[:32]), X[32:]


def make_student(number):
    return students.with_noise(small_network(3, name=f"student_{number}"), 0.3)


def scheme(teacher=None, make=make_student, *args, **options):
    return NoisyStudent(teacher, make, *args, **{"least": None, "iterations": 2, "augment": None} | options)


def fit(made, **options):
    defaults = {
        "labelled": LABELLED,
        "unlabelled": UNLABELLED,
        "epochs": 2,
        "optimizer": keras.optimizers.Adam(1e-2),
        "metrics": ["accuracy"],
        "batch_size": 16,
        "verbose": 0,
    }
    return made.fit(**defaults | options)


@pytest.mark.slow
def test_one_step_is_that_of_the_formula(teacher):
    """The mean of the cross-entropies of a batch of labels and pseudo-labels, by plain TensorFlow."""
    start = small_network(3)
    ours, theirs = (keras.models.clone_model(start) for _ in range(2))
    for each in (ours, theirs):
        each.set_weights(start.get_weights())
    made = scheme(teacher, [ours], iterations=1)
    fit(made, unlabelled=X[32:64], epochs=1, batch_size=32, optimizer=keras.optimizers.SGD(0.1))
    pseudo = tf.nn.softmax(teacher(X[32:64]))
    rows = tf.concat([tf.one_hot(Y[:32], CLASSES), pseudo], axis=0)
    with tf.GradientTape() as tape:
        entropy = tf.nn.softmax_cross_entropy_with_logits(rows, theirs(X[:64], training=True))
        loss = tf.reduce_mean(entropy)
    gradients = tape.gradient(loss, theirs.trainable_variables)
    for gradient, before, after in zip(
        gradients, theirs.trainable_variables, ours.trainable_variables, strict=True
    ):
        np.testing.assert_allclose(before - 0.1 * gradient, after, atol=1e-5)


@pytest.mark.slow
def test_a_teacher_and_students_in_one_history():
    made = scheme(None, least=0.3)
    seen = []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    history = fit(made, epochs=6, validation_data=blobs(64, 1), callbacks=[record], batch_size=8)
    assert history.epoch == list(range(18)) and seen == list(range(6)) * 3
    assert history.history["iteration"] == [0] * 6 + [1] * 6 + [2] * 6
    assert "stage" not in history.history
    assert history.history["val_accuracy"][-1] > 0.9
    assert [each.name for each in made.students] == ["student_1", "student_2"]
    assert made.student is made.students[-1] and made.teacher.name == "student_0"


@pytest.mark.slow
def test_the_teacher_given_stays_as_it_is(teacher):
    before = harness.snapshot(teacher)
    made = scheme(teacher, iterations=1)
    fit(made)
    harness.assert_same_weights(before, teacher)
    assert made.teacher is teacher


@pytest.mark.slow
@pytest.mark.parametrize(
    "loss",
    [losses.SoftTargets(4.0), losses.Hint("relu1", "relu1", projector=True), losses.GradientAttention()],
    ids=lambda loss: loss.name,
)
def test_distillation_losses(loss, teacher):
    history = fit(scheme(teacher, make_student, loss))
    assert np.isfinite(history.history[loss.name]).all()
    labels, taught, total = (np.array(history.history[key]) for key in ("student_loss", loss.name, "loss"))
    np.testing.assert_allclose(total, 0.5 * labels + 0.5 * taught, rtol=1e-4)
    # Each student has parts of the loss of its own; those of the one that was given are never made.
    assert not loss.variables


@pytest.mark.slow
def test_independent_labels_have_a_loss_of_their_own():
    """Independent labels: sigmoids and binary cross-entropy."""
    y = np.eye(CLASSES, dtype="float32")[Y[:32]]
    made = scheme(small_network(3), iterations=1, task="multi_label")
    history = fit(made, labelled=(X[:32], y), metrics=["binary_accuracy"])
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.slow
def test_inputs_from_data_sets_and_from_a_recipe(teacher, tmp_path):
    labelled = tf.data.Dataset.from_tensor_slices(LABELLED).batch(10)
    unlabelled = tf.data.Dataset.from_tensor_slices(UNLABELLED).batch(50)
    arrays, streams = scheme(teacher, iterations=1), scheme(teacher, iterations=1)
    fit(arrays)
    fit(streams, labelled=labelled, unlabelled=unlabelled)
    harness.assert_same_weights(harness.snapshot(arrays.student), streams.student)
    run = functools.partial(
        fit, unlabelled=tfkd.datafree.Procedural(), synthesized=40, epochs=1, backup_dir=tmp_path
    )
    made, again = scheme(teacher, iterations=1), scheme(teacher, iterations=1)
    run(made)
    assert np.load(tmp_path / "synthesized.npy").shape == (40, *SHAPE)
    run(again)
    harness.assert_same_weights(harness.snapshot(made.student), again.student)


# Resuming.


class Stop(Exception):
    pass


class StopAt(keras.callbacks.Callback):
    """Stops at a batch or at the end of an epoch, counted over all iterations."""

    def __init__(self, batches, stop):
        super().__init__()
        self.left, self.stop = batches, stop

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            self.stop()


def resumable(folder=None, callbacks=()):
    """A teacher and two students, two epochs each of 2, 8 and 8 batches, with noise of all kinds."""
    hint = losses.Hint("relu1", "relu1", projector=True)
    made = scheme(None, make_student, hint, augment=speckled)
    with warnings.catch_warnings():
        # After two epochs not every class is known.
        warnings.simplefilter("ignore", UserWarning)
        return made, fit(made, backup_dir=folder, callbacks=callbacks)


def speckled(image, seed):
    return image + 0.1 * tf.random.stateless_normal(image.shape, seed)


@pytest.fixture(scope="module")
def whole():
    return resumable()


@pytest.mark.slow
@pytest.mark.parametrize(
    "batches", [3, 4, 16, 21], ids=["teacher", "teacher's end", "first student", "labelled again"]
)
def test_an_interrupted_run_goes_on_to_the_same_weights(batches, whole, tmp_path):
    expected, history = whole

    def stop():
        raise Stop

    with pytest.raises(Stop):
        resumable(tmp_path, [StopAt(batches, stop)])
    # As in another process.
    keras.utils.set_random_seed(99)
    resumed, again = resumable(tmp_path)
    for ours, theirs in zip(resumed.students, expected.students, strict=True):
        for a, b in zip(ours.weights, theirs.weights, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=a.path)
    assert again.epoch == history.epoch
    np.testing.assert_allclose(again.history["loss"], history.history["loss"], rtol=1e-3)


@pytest.mark.slow
def test_a_folder_of_another_run_is_refused(teacher, tmp_path):
    run = functools.partial(fit, epochs=1, backup_dir=tmp_path)
    run(scheme(teacher, iterations=1))
    with pytest.raises(ValueError, match=r"contains a run with least=None; now it is 0.1"):
        run(scheme(teacher, iterations=1, least=0.1))
    with pytest.raises(ValueError, match="another"):
        run(scheme(small_network(5), iterations=1))


# Bad input.


def other_classes(number):
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES + 1)])


def probabilities(number):
    return keras.Sequential([small_network(2), layers.Softmax()])


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (scheme, {"unlabelled": None}, "`unlabelled` is missing"),
        (scheme, {"unlabelled": X[:0]}, "`unlabelled` is empty"),
        (
            scheme,
            {"unlabelled": tf.data.Dataset.from_tensor_slices(X).take(0).batch(2)},
            "`unlabelled` is empty",
        ),
        (scheme, {"unlabelled": X[:, :8]}, "must match the labelled ones"),
        (scheme, {"labelled": X}, r"`labelled` must be inputs and labels \(x, y\)"),
        (scheme, {"labelled": (X[:0], Y[:0])}, "`labelled` is empty"),
        (scheme, {"labelled": (X[:8], Y[:8] + 1)}, "class indices from 0 to 3"),
        (
            scheme,
            {"labelled": tf.data.Dataset.from_tensor_slices((X, Y, Y)).batch(8)},
            "elements \\(x, y\\), without weights",
        ),
        (scheme, {"loss": "sparse_categorical_crossentropy"}, "`loss` must take rows of probabilities"),
        (scheme, {"metrics": [keras.metrics.SparseCategoricalAccuracy()]}, "`metrics` must take rows"),
        (lambda: scheme(probabilities(0)), {}, "must return logits, but .* ends in a softmax"),
        (
            lambda: scheme(small_network(2), probabilities),
            {},
            "must return logits, but .* ends in a softmax",
        ),
        (scheme, {"batch_size": 0}, "`batch_size` must be an integer"),
        (
            lambda: scheme(small_network(2), other_classes),
            {},
            r"teacher's output shape \(None, 4\). Received: .* with \(None, 5\) for iteration 1",
        ),
    ],
)
def test_bad_runs(make, options, message):
    made = scheme(small_network(2)) if make is scheme else make()
    with pytest.raises(ValueError, match=message):
        fit(made, **options)


def test_images_that_randaugment_would_clip_are_refused():
    bright = (np.clip(X[:32], 0, 1) * 255, Y[:32])
    with pytest.raises(ValueError, match=r"'randaugment' takes images in \[0, 1\].*to 255.*rand_augment"):
        fit(scheme(small_network(2), augment="randaugment"), labelled=bright)


def test_bad_schemes():
    for build, message in (
        (
            lambda: scheme(None, [small_network(2)]),
            "network for each of 2 iterations, after that of the teacher",
        ),
        (
            lambda: scheme(None, [small_network(2)], iterations=None),
            "for each iteration, after that of the",
        ),
        (lambda: scheme(augment="mixup"), "`augment` must be 'randaugment'"),
        (lambda: scheme(least=2), "`least` must be between 0 and 1"),
        (lambda: scheme(unlabelled_ratio=0), "`unlabelled_ratio` must be an integer of at least 1"),
        (lambda: scheme(seed=-1), "`seed` must be an integer from 0"),
        (lambda: scheme().student, "Call `fit` first"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    assert scheme(None, [small_network(2)] * 3, iterations=None).iterations == 2


@pytest.mark.slow
def test_a_class_of_which_the_teacher_is_never_sure_and_the_remedy():
    with pytest.raises(ValueError, match="`per_class`: 5 examples of each class are not available"):
        fit(scheme(shy(), per_class=5, iterations=1))
    with pytest.warns(UserWarning, match="classifies no input as class 3"):
        fit(scheme(shy(), iterations=1), epochs=1)


def shy():
    """A teacher that never says class 3."""
    model = small_network(2)
    kernel, bias = model.get_layer("logits").get_weights()
    bias[3] = -50.0
    model.get_layer("logits").set_weights([kernel, bias])
    return model
