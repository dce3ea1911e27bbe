"""The history of a run: one row per epoch, in a file that survives interruption."""

import json
import os
import time

import keras

from tfkd._core import files


class RunHistory(keras.callbacks.Callback):
    """Keeps one row of logs and training seconds per epoch.

    Args:
        path: a JSON file, read at the start and rewritten after each epoch; None to keep the rows in memory
            only.

    Attributes:
        rows: dictionaries of the epoch (from 1), its seconds and its logs.
        resumed_rows: number of rows from earlier processes.
    """

    def __init__(self, path: str | None) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict] = []
        if path is not None and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.rows = json.load(file)
        self.resumed_rows: int | None = None

    def on_epoch_begin(self, epoch, logs=None):
        # An epoch that a killed run recorded but did not save is run and recorded again.
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]
        if self.resumed_rows is None:
            self.resumed_rows = len(self.rows)
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        # Validation and other callbacks after the last step are not training time.
        self._end = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = self._end - self._start
        values = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, "seconds": seconds, **values})
        if self.path is not None:
            files.write_text(self.path, json.dumps(self.rows, indent=1) + "\n")

    @property
    def seconds(self) -> float:
        """Training time so far, without validation, including interrupted parts."""
        return sum(row["seconds"] for row in self.rows)

    @property
    def earlier_seconds(self) -> float:
        """Training time of earlier processes."""
        return sum(row["seconds"] for row in self.rows[: self.resumed_rows])
