"""TensorBoard output beyond Keras's callback: hyperparameters, and curves of several fits."""

import json
import os
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfkd.pipelines._run_folder import RunFolder
from tfkd.searching import SearchResult
from tfkd.searching._budget import QUANTITIES

BOARD = "tensorboard"


def write_hparams(folder: RunFolder, **more: Any) -> None:
    """Writes a run's settings as hyperparameters, once: a resumed run already has them.

    Nested settings are called `outer.inner`; those that are None are left out.

    Args:
        folder: the run's folder.
        **more: values chosen by the run itself.
    """
    _write_session(folder.file(BOARD), _flat({**folder.settings, **more}), {})


def write_trials(folder: RunFolder, found: SearchResult) -> None:
    """Writes each trial of a search as a session of TensorBoard's HParams: its choices and its figures."""
    for trial in found.trials:
        figures = {found.objective: trial.objective}
        figures |= {name: getattr(trial, name) for name in (*QUANTITIES, "seconds")}
        assert trial.student is not None
        name, _ = os.path.splitext(trial.student)
        _write_session(os.path.join(folder.file(BOARD), name), _flat(trial.point), figures)


def _write_session(board: str, hparams: Mapping[str, Any], figures: Mapping[str, float | None]) -> None:
    """Writes hyperparameters and scalars to a folder, unless an interrupted run has done so."""
    from tensorboard.plugins.hparams import api

    if not os.path.isdir(board):
        with tf.summary.create_file_writer(board).as_default():
            api.hparams(hparams)
            for name, value in figures.items():
                if value is not None:
                    tf.summary.scalar(name, value, step=0)


def training_curves(folder: RunFolder | None) -> list[keras.callbacks.Callback]:
    """Callbacks that write curves and hyperparameters of a run on data; none without a folder."""
    if folder is None:
        return []
    write_hparams(folder)
    return [TrainingCurves(folder.file(BOARD))]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    flat: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif value is not None:
            plain = isinstance(value, (bool, int, float, str))
            flat[prefix + name] = value if plain else json.dumps(value, default=str)
    return flat


class TrainingCurves(keras.callbacks.Callback):
    """Writes each epoch's figures of each trained network, with `keras.callbacks.TensorBoard`.

    The curves of the first network are in `train` and `validation`; the curves of the next one, whose
    epochs start from 0 again, are in `network_2/train`, and so on.

    Args:
        folder: folder for TensorBoard's events.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder
        self._writer: keras.callbacks.TensorBoard | None = None

    def on_epoch_end(self, epoch, logs=None):
        # A resumed run continues its curve, and a stage continues the curve of the previous stage.
        writer = self._writer or self._begun(self._place(new=epoch == 0))
        writer.on_epoch_end(epoch, logs)
        self._writer = writer

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.on_train_end()
            self._writer = None

    def _begun(self, place):
        writer = keras.callbacks.TensorBoard(place, write_graph=False)
        writer.set_model(self.model)
        writer.on_train_begin()
        return writer

    def _place(self, new):
        number = 1
        while os.path.isdir(os.path.join(self._numbered(number), "train")):
            number += 1
        return self._numbered(number if new else max(number - 1, 1))

    def _numbered(self, number):
        return self.folder if number == 1 else os.path.join(self.folder, f"network_{number}")
