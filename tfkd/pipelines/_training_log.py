"""A log of training several networks, one after another."""

import math
import time
from collections.abc import Callable, Sequence

import keras


class TrainingLog(keras.callbacks.Callback):
    """Reports which network's training starts, and adds the seconds of each epoch to its logs.

    A callback to place before those that store the logs.

    Args:
        say: prints a line, or does nothing.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say, self._seconds_here = say, 0.0

    def on_train_begin(self, logs=None):
        students = [f"{each.name} ({each.count_params():,} parameters)" for each in self.model.students]
        self._say(f"training {', '.join(students)}")

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        assert logs is not None
        logs["seconds"] = time.perf_counter() - self._start
        self._seconds_here += logs["seconds"]

    def seconds(self, rows: Sequence[dict]) -> float:
        """Seconds of all epochs, validation included."""
        return sum(row["seconds"] for row in rows)

    def earlier_seconds(self, rows: Sequence[dict]) -> float:
        """Seconds of the epochs of earlier, interrupted processes."""
        return max(0.0, self.seconds(rows) - self._seconds_here)

    @staticmethod
    def rows(history: keras.callbacks.History) -> list[dict]:
        """One row per epoch, without missing values."""
        columns = history.history
        rows = []
        for number in range(len(history.epoch)):
            values = {name: float(column[number]) for name, column in columns.items()}
            there = {name: v for name, v in values.items() if name == "loss" or math.isfinite(v)}
            rows.append({"epoch": number + 1, **there})
        return rows

    @staticmethod
    def stopped(rows: Sequence[dict]) -> str | None:
        """Why training stopped early, or None."""
        for row in rows:
            if not math.isfinite(row["loss"]):
                return (
                    f"the loss was no longer finite in epoch {row['epoch']}, training stopped there, and "
                    "the network has the weights of the last epoch with a finite loss; a lower "
                    "`learning_rate` usually helps"
                )
        return None
