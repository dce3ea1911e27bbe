"""Progress of training: a line for each epoch, and a bar in a terminal."""

import time

import keras
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from tfkd.datafree import Health
from tfkd.datafree._distiller import FIRST_STEP


class ShownProgress(keras.callbacks.Callback):
    """Shows the main figures of each epoch in lines of up to 80 columns; the logs have all.

    A callback for `fit` with `verbose=0`, placed after the callbacks whose figures it shows, and a context
    manager that removes the bar at its end.

    Args:
        verbose: 0 shows nothing; 1 shows lines, and a bar in a terminal; 2 lines only.
        health: the `Health` callback of the run, or None.

    Example:
        >>> with ShownProgress(verbose, health) as progress:
        ...     distiller.fit(callbacks=[health, progress], verbose=0)
    """

    def __init__(self, verbose: int, health: Health | None = None) -> None:
        super().__init__()
        self._verbose, self._health = verbose, health
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            transient=True,
            disable=verbose != 1,
        )
        # Elsewhere it would appear as an extra line.
        self._bar.disable |= not self._bar.console.is_terminal

    def __enter__(self) -> "ShownProgress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def on_train_begin(self, logs=None):
        self._say(FIRST_STEP)
        self._task = self._bar.add_task("starting", total=None)

    def on_train_end(self, logs=None):
        # The next network's run has its own bar.
        self._bar.remove_task(self._task)

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()
        epochs, steps = self.params["epochs"], self.params["steps"]
        self._bar.update(
            self._task,
            description=f"epoch {epoch + 1}/{epochs}",
            completed=epoch * steps,
            total=epochs * steps,
        )

    def on_train_batch_end(self, batch, logs=None):
        self._bar.advance(self._task)

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._start
        figures = "".join(f"  {figure}" for figure in self._figures(logs or {}))
        epochs = str(self.params["epochs"])
        self._say(f"epoch {epoch + 1:>{len(epochs)}}/{epochs}  {seconds:.0f} s{figures}")

    def _figures(self, logs):
        if "loss" in logs:
            yield f"loss {logs['loss']:.3g}"
        if "agreement" in logs:
            yield f"agree {logs['agreement']:.1%}"
        if self._health is not None and "health_agreement" in logs:
            yield f"health {'good' if self._health.healthy else 'poor'} {logs['health_agreement']:.0%}"
        measured = [name for name in logs if name.startswith("val_") and name != "val_loss"]
        if measured:
            yield f"val {logs[measured[0]]:.4g}"

    def _say(self, line):
        if self._verbose:
            print(line, flush=True)
