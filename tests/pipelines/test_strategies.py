"""Pipelines under a strategy: two replicas train, and what they come to is outside of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tfkd.datafree import Procedural
from tfkd.pipelines import distil, distil_with_data

pytestmark = [pytest.mark.program, pytest.mark.filterwarnings("ignore::tfkd.datafree.HealthWarning")]
QUICK = Procedural(epochs=2, steps_per_epoch=2, batch_size=16, memory=32, refine_steps=0)


def outside(model):
    """Whether a model's variables belong to no strategy."""
    return not any(isinstance(v.value, tf.distribute.DistributedValues) for v in model.variables)


def test_replicas_without_data(strategy, teacher_file):
    student = small_network(4, name="student")
    before = harness.snapshot(student)
    distilled = distil(teacher_file, student, QUICK, strategy=strategy, tflite="float32")
    assert distilled.student is student and outside(student)
    harness.assert_other_weights(before, student.weights)
    assert distilled.metrics["student_updates"] == 2 * 2 * (1 + QUICK.replay_steps)
    # What replicas make is counted for each, and twice as much is drawn as the student gets.
    assert (
        distilled.metrics["images_generated"] == 2 * (2 * 2 * 2 * 16) and distilled.metrics["replicas"] == 2
    )
    assert distilled.tflite and distilled.problem is None


def plain(width, name):
    """A network that looks at each image alone."""
    return keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(width, "tanh"), layers.Dense(CLASSES)],
        name=name,
    )


@pytest.mark.parametrize("scheme, scheme_options", [("distil", {}), ("eskd", {"stop_epoch": 1})])
def test_replicas_with_data_learn_as_one_does(strategy, tmp_path, scheme, scheme_options):
    teacher, start = plain(6, "teacher"), plain(4, "student")
    teacher.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    teacher.fit(*blobs(256), epochs=10, verbose=0)
    start.save(tmp_path / "student.keras")
    options = {
        "scheme": scheme,
        "scheme_options": scheme_options,
        # A share held out, four whole batches are left.
        "training_data": blobs(71),
        "epochs": 2,
        "batch_size": 16,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "tflite": None,
    }
    one, two = (
        distil_with_data(teacher, str(tmp_path / "student.keras"), strategy=each, **options)
        for each in (None, strategy)
    )
    assert outside(two.student)
    for a, b in zip(one.student.get_weights(), two.student.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert two.history[-1]["val_accuracy"] == pytest.approx(one.history[-1]["val_accuracy"])


def test_what_a_strategy_does_not_take(strategy):
    with pytest.raises(ValueError, match="`strategy` takes one student at a time"):
        distil("teacher.keras", ["0.5x", "0.25x"], strategy=strategy)
    with pytest.raises(ValueError, match=r"'self' trains on one device.*use 'distil' or 'eskd'"):
        distil_with_data(
            students="net.keras",
            scheme="self",
            scheme_options=["exits=conv1"],
            training_data=blobs(8),
            strategy=strategy,
        )
    with pytest.raises(TypeError, match=r"`strategy` must be a tf.distribute.Strategy.*'mirrored'"):
        distil("teacher.keras", strategy="mirrored")
