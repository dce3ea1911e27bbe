"""SSKD from rotated batches to a trained student."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tests.losses import oracles
from tests.losses.networks import IMAGES
from tfkd import losses

pytestmark = pytest.mark.slow

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def rotated(*arrays, batch=4):
    return losses.with_rotations(tf.data.Dataset.from_tensor_slices(arrays).batch(batch))


def test_rotations_stand_behind_their_image_and_do_not_count():
    x, y = blobs(6)
    weights = np.arange(6, dtype="float32")
    batches = list(rotated(x, y, weights).as_numpy_iterator())
    assert [len(images) for images, _, _ in batches] == [16, 8]
    images, labels, counts = (np.concatenate(each) for each in zip(*batches, strict=True))
    expected = [np.rot90(image, turns) for image in x for turns in range(4)]
    np.testing.assert_array_equal(images, expected)
    np.testing.assert_array_equal(labels, np.repeat(y, 4))
    np.testing.assert_array_equal(counts.reshape(6, 4), weights[:, None] * [4, 0, 0, 0])


def test_rotations_without_labels_or_with_weights_of_more_axes():
    x, _ = blobs(2)
    images, labels, counts = next(iter(losses.with_rotations(tf.data.Dataset.from_tensors(x))))
    assert labels is None and images.shape == (8, 12, 12, 1)
    np.testing.assert_array_equal(counts, [4, 0, 0, 0] * 2)
    _, _, counts = next(iter(rotated(x, x, np.ones((2, 3), "float32"))))
    np.testing.assert_array_equal(counts, [[4] * 3, *[[0] * 3] * 3] * 2)


@pytest.mark.parametrize("shape", [(4, 8, 6, 1), (8, 8, 1), (4, 3)])
def test_what_cannot_be_rotated(shape):
    with pytest.raises(ValueError, match=r"batches of square images.*Resize or crop them"):
        losses.with_rotations(tf.data.Dataset.from_tensors(np.zeros(shape, "float32")))


def test_batches_that_hold_no_rotations():
    values = [np.zeros((6, 3)), np.zeros((6, 2))]
    with pytest.raises(ValueError, match=r"4 rows for each image.*with_rotations"):
        losses.self_supervised(values, values)
    with pytest.raises(ValueError, match=r"`teacher_layer` must be two taps.*'logits'\]"):
        losses.SelfSupervised("a", "b")


def test_the_gradient_of_the_pretext_task():
    rng = np.random.default_rng(0)
    embeddings, direction = rng.normal(size=(2, 12, 5))
    variable = tf.Variable(embeddings, dtype="float32")
    with tf.GradientTape() as tape:
        value = losses.pretext_task(variable)
    slope = np.sum(tape.gradient(value, variable) * direction)
    ends = [oracles.pretext_task(embeddings + step * direction) for step in (1e-5, -1e-5)]
    np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-4)


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_how_many_wrong_rotations_are_kept(kept):
    """The teacher takes every rotation of the first image for the second, whose own it knows."""
    teacher = np.repeat(np.eye(2, dtype="float32"), 4, axis=0)
    teacher[1:4] = teacher[4]
    student = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    logits = np.zeros((8, 2), "float32")
    value = losses.self_supervised([teacher, logits], [student, logits], 0.0, 1.0, kept=kept)
    cosines, of_student = (oracles.rotations(each.astype("float64"))[0] for each in (teacher, student))
    chosen = slice(None) if kept else slice(3, None)
    expected = oracles.soft_targets(cosines[chosen], of_student[chosen], 0.5).mean()
    np.testing.assert_allclose(value, expected, rtol=1e-5)


def test_images_of_weight_0_teach_nothing():
    rng = np.random.default_rng(0)
    teacher, student = ([rng.normal(size=(8, n)).astype("float32") for n in (3, 2)] for _ in range(2))
    weights = [4, 0, 0, 0, 0, 0, 0, 0]
    variable = tf.Variable(student[1])
    with tf.GradientTape() as tape:
        value = losses.self_supervised(teacher, [student[0], variable], sample_weight=weights)
    gradient = tape.gradient(value, variable).numpy()
    assert gradient[1:4].any() and not gradient[[0, 4, 5, 6, 7]].any()


@pytest.mark.slow
def test_two_stages_train_the_teachers_head_first(teacher):
    loss = losses.SelfSupervised(*IMAGES.ending)
    student = small_network(4)
    first = tfkd.Distiller(teacher, student, loss.pretext_task(), student_loss_weight=0.0)
    first.compile(keras.optimizers.Adam(1e-2), LABELS_LOSS)
    data = rotated(*blobs(32), batch=8)
    start = student.get_layer("conv1").kernel.numpy()
    before, after = first.fit(data, epochs=6, verbose=0).history["loss"][::5]
    assert after < before
    np.testing.assert_array_equal(start, student.get_layer("conv1").kernel)
    head = [v.numpy() for v in loss.teacher_head.trainable_variables]
    knowledge = [losses.SoftTargets(4.0), loss]
    second = tfkd.Distiller(teacher, student, knowledge, [9.0, 10.0])
    second.compile(keras.optimizers.Adam(1e-3), LABELS_LOSS)
    second.fit(data, verbose=0)
    harness.assert_same_weights(head, loss.teacher_head)
    assert not np.array_equal(start, student.get_layer("conv1").kernel)


def test_the_loss_of_labels_is_that_of_images_alone():
    x, y = blobs(8)
    student = keras.Sequential([keras.Input((12, 12, 1)), layers.Flatten(), layers.Dense(4)])
    logs = []
    for data in (rotated(x, y, batch=8), tf.data.Dataset.from_tensors((x, y))):
        distiller = tfkd.Distiller(None, student, [], student_loss_weight=1.0)
        distiller.compile(keras.optimizers.SGD(0.0), LABELS_LOSS)
        logs.append(distiller.fit(data, verbose=0).history["loss"][0])
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
