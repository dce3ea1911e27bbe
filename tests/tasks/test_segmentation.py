"""Segmentation, by hand and against NumPy."""

import keras
import numpy as np
import pytest
from keras import layers

from tfkd import tasks

RNG = np.random.default_rng(2)
TEACHER, STUDENT = RNG.normal(0, 2, size=(2, 6, 5, 4, 3)).astype("float32")


def logits_of(masks, classes=3):
    return np.eye(classes, dtype="float32")[np.asarray(masks)]


def test_agreement_and_divergence_are_means_over_pixels():
    task = tasks.Segmentation((5, 4, 3))
    pixels = tasks.Classification((3,))
    for name in ("agreement", "divergence"):
        flat = getattr(pixels, name)(TEACHER.reshape(-1, 3), STUDENT.reshape(-1, 3))
        expected = np.asarray(flat).reshape(6, -1).mean(axis=1)
        np.testing.assert_allclose(getattr(task, name)(TEACHER, STUDENT), expected, rtol=1e-5)


def test_intersection_over_union_by_hand():
    truth = np.array([[[0, 0], [1, 1]], [[0, 1], [255, 0]]])
    answers = logits_of([[[0, 1], [1, 1]], [[0, 0], [2, 0]]])
    task = tasks.Segmentation((2, 2, 3))
    # Class 0: 3 in common of 5; class 1: 2 of 4; class 2 is only where no pixel counts.
    expected = {"mean_iou": (3 / 5 + 2 / 4) / 2, "accuracy": 5 / 7}
    assert task.score(answers, truth) == pytest.approx(expected)
    metric = task.metric()
    metric.update_state(truth, answers)
    assert float(metric.result()) == pytest.approx(expected["mean_iou"])


def test_the_loss_of_labels_leaves_out_what_does_not_count():
    truth = RNG.integers(0, 3, (6, 5, 4))
    loss = tasks.Segmentation((5, 4, 3)).label_loss()
    half = truth.copy()
    half[:, :2] = 255
    np.testing.assert_allclose(loss(half, TEACHER), loss(truth[:, 2:], TEACHER[:, 2:]), rtol=1e-5)


def test_what_is_chance_and_what_looks_broken():
    task = tasks.Segmentation((5, 4, 3))
    truth = np.zeros((6, 5, 4), "int64")
    truth[:, 0] = 1
    assert task.is_chance(logits_of(np.zeros_like(truth)), truth)
    assert not task.is_chance(logits_of(truth), truth)
    assert task.diagnose(9 * logits_of(truth)) is None
    assert "hardly depends on its input" in task.diagnose(9 * logits_of(np.zeros_like(truth)))
    assert "looks untrained" in task.diagnose(0 * TEACHER)


@pytest.mark.parametrize(
    ("labels", "received"),
    [
        (np.zeros((6, 5)), r"shape \(6, 5\)"),
        (np.zeros((6, 5, 3)), r"shape \(6, 5, 3\)"),
        (np.full((6, 5, 4), 3), r"values \[3\]"),
        (np.full((6, 5, 4), 255), "255 everywhere"),
    ],
)
def test_masks_that_do_not_fit_are_refused(labels, received):
    with pytest.raises(ValueError, match=f"(?s)`labels` must .*{received}"):
        tasks.Segmentation((5, 4, 3)).check_labels(labels, 6, "`labels`")


@pytest.mark.parametrize("shape", [(3,), (5, 3), (5, 4, 1), (5, 4, 300), (5, 4, None)])
def test_outputs_that_are_not_maps_of_classes_are_refused(shape):
    with pytest.raises(ValueError, match="2 to 255 classes at each pixel"):
        tasks.Segmentation(shape)


def test_maps_of_softmaxes_are_segmentation_and_other_maps_ask_for_the_task():
    def network(channels, activation):
        inputs = keras.Input((8, 8, 3))
        return keras.Model(
            inputs, layers.Conv2D(channels, 3, padding="same", activation=activation)(inputs)
        )

    x = RNG.uniform(size=(4, 8, 8, 3)).astype("float32")
    reading = tasks.reading_of(maps := network(4, "softmax"), None, lambda: maps(x))
    assert isinstance(reading.task, tasks.Segmentation) and reading.activation == "softmax"
    binary = network(1, "sigmoid")
    with pytest.raises(ValueError, match=r"`task` is needed.*'segmentation'"):
        tasks.reading_of(binary, None, lambda: binary(x))
    reading = tasks.reading_of(binary, "segmentation", lambda: binary(x))
    probabilities = np.asarray(binary(x))
    answers = reading(probabilities)
    assert answers.shape == (4, 8, 8, 2)
    np.testing.assert_allclose(
        answers[..., 1], np.log(probabilities / (1 - probabilities))[..., 0], rtol=1e-3
    )
