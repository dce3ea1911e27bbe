"""Keras's own callbacks, and loggers that are made as those of Comet and W&B, on a data-free distiller."""

import csv

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import blobs, small_network
from tests.pipelines import boards
from tfkd.datafree import DataFreeDistiller, ImageSummaries, Procedural

RECIPE = Procedural(epochs=3, steps_per_epoch=2, batch_size=8, memory=0, refine_steps=0)


class Logger(keras.callbacks.Callback):
    """Notes what loggers of services send."""

    def __init__(self):
        super().__init__()
        self.said = []

    def on_train_begin(self, logs=None):
        optimizer = self.model.optimizer.get_config()
        self.said.append(("begin", {**self.params, "optimizer": optimizer["name"]}))

    def on_train_batch_end(self, batch, logs=None):
        self.said.append(("batch", {name: float(value) for name, value in logs.items()}))

    def on_test_end(self, logs=None):
        self.said.append(("test", dict(logs)))

    def on_epoch_end(self, epoch, logs=None):
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.said.append(("epoch", {**logs, "learning_rate": rate}))

    def on_train_end(self, logs=None):
        self.said.append(("end", dict(logs)))


def fit(teacher, callbacks, **arguments):
    keras.utils.set_random_seed(0)
    distiller = DataFreeDistiller(teacher, small_network(2), RECIPE, seed=0)
    distiller.compile(metrics=["accuracy"])
    distiller.fit(callbacks=callbacks, verbose=0, **arguments)
    return distiller


@pytest.mark.eager
def test_a_logger_gets_plain_numbers_in_the_order_of_keras(teacher):
    logger = Logger()
    history = fit(teacher, [logger], validation_data=blobs(16), validation_freq=3).history
    kinds = [kind for kind, _ in logger.said]
    assert kinds == ["begin", *2 * ["batch", "batch", "epoch"], "batch", "batch", "test", "epoch", "end"]
    assert logger.said[0][1] == {"verbose": 0, "epochs": 3, "steps": 2, "optimizer": "muon"}
    epochs = [logs for kind, logs in logger.said if kind == "epoch"]
    assert all(
        isinstance(value, float) and np.isfinite(value) for logs in epochs for value in logs.values()
    )
    assert epochs[0].keys() == {"loss", "agreement", "learning_rate"}
    assert epochs[2].keys() == {"loss", "agreement", "val_accuracy", "learning_rate"}
    assert [logs["loss"] for logs in epochs] == history.history["loss"]
    assert epochs[2]["learning_rate"] < epochs[0]["learning_rate"]


@pytest.mark.eager
def test_callbacks_of_keras(teacher, tmp_path):
    stopping = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=1, restore_best_weights=True)
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.weights.h5", "agreement", mode="max", save_best_only=True, save_weights_only=True
    )
    fit(
        teacher,
        [
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            checkpoint,
            stopping,
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"] and {"loss", "agreement"} < set(rows[0])
    assert stopping.stopped_epoch == 1 and (tmp_path / "best.weights.h5").exists()


def test_curves_and_images_in_tensorboard(teacher, tmp_path):
    board = keras.callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq="batch")
    plain = fit(teacher, [], validation_data=blobs(16))
    watched = fit(teacher, [board, ImageSummaries(tmp_path, every=2, count=3)], validation_data=blobs(16))
    assert boards.events(tmp_path / "train", "epoch_loss") == [0, 1, 2]
    assert len(boards.events(tmp_path / "train", "batch_loss")) == 6
    assert boards.events(tmp_path / "validation", "epoch_accuracy") == [0, 1, 2]
    assert boards.events(tmp_path / "train", "synthesized") == [0, 1]
    width, height, *images = boards.values(tmp_path / "train", "synthesized")[-1]
    assert (width, height) == (b"12", b"12") and len(images) == 3
    assert tf.io.decode_png(images[0]).shape == (12, 12, 1)
    # Looking on changes nothing.
    for ours, own in zip(watched.student.get_weights(), plain.student.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, own)


@pytest.mark.eager
def test_what_is_not_an_image_is_not_shown(tmp_path):
    inputs = keras.Input((6,))
    teacher, student = (keras.Model(inputs, keras.layers.Dense(3)(inputs)) for _ in range(2))
    distiller = DataFreeDistiller(teacher, student, RECIPE, seed=0)
    distiller.compile()
    distiller.fit(epochs=1, callbacks=[ImageSummaries(tmp_path)], verbose=0)
    assert boards.tags(tmp_path / "train") == []


@pytest.mark.parametrize("option", ["every", "count"])
def test_numbers_below_one_are_refused(option):
    with pytest.raises(ValueError, match=f"`{option}` must be an integer of at least 1"):
        ImageSummaries("logs", **{option: 0})
