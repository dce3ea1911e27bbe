"""What a run notes while it trains: its history, its state and pictures of its images."""

import json
import os
import time

import keras

from tfkd._core import files
from tfkd.export import _pictures as pictures


class RunHistory(keras.callbacks.Callback):
    """Keeps one row of logs and training seconds per epoch in a file that survives interruption.

    Args:
        path: a JSON file, rewritten whole after each epoch.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict] = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.rows = json.load(file)
        self.resumed_rows: int | None = None

    def on_epoch_begin(self, epoch, logs=None):
        # An epoch that a killed run had noted but not saved is run, and noted, again.
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]
        if self.resumed_rows is None:
            self.resumed_rows = len(self.rows)
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # What follows the last step, validation and other callbacks, is not training.
        self._end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._end - self._start
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, "seconds": seconds, **values})
        files.write_text(self.path, json.dumps(self.rows, indent=1) + "\n")

    @property
    def seconds(self) -> float:
        """Training time so far, validation left out, interrupted parts included."""
        return sum(row["seconds"] for row in self.rows)


class SaveState(keras.callbacks.Callback):
    """Saves everything the distiller needs to go on, after each epoch, whole or not at all.

    Args:
        path: a `.weights.h5` file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        with files.replacing(self.path) as temporary:
            self.model.save_weights(temporary)


class ImageGrids(keras.callbacks.Callback):
    """Saves a labelled grid of synthesized images a few times in a run.

    Args:
        folder: where the PNG files go.
        epochs: epochs of the run.
        times: about how many grids.
    """

    def __init__(self, folder: str, epochs: int, times: int = 4) -> None:
        super().__init__()
        self.folder = folder
        self.every = max(1, epochs // times)

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0 or (epoch + 1) % self.every == 0:
            distiller = self.model
            with distiller.preserving_state():
                images = distiller.synthesize(32)
            png = pictures.image_grid(images, distiller.teacher, columns=8)
            files.write_bytes(os.path.join(self.folder, f"epoch_{epoch + 1:04d}.png"), png)
