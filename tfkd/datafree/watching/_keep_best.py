"""KeepBest: restores the students of the best epoch, chosen without real data."""

import warnings

import keras
import numpy as np

from tfkd._core.checks import check_choice
from tfkd._core.snapshots import Snapshot
from tfkd.datafree.watching._diagnostics import in_warm_up
from tfkd.distilling import Distillation
from tfkd.distilling._protocol import check_distillation


class KeepBest(keras.callbacks.Callback):
    """Restores, at the end of training, the students' weights from the epoch with the best metric.

    The metric must not need real data. It can be one of `tfkd.datafree.Health`, which must come before this
    callback in the list, or `agreement` or `loss`, whose inputs change during training. Of equally good
    epochs the last one is kept, since it has trained longest.

    Args:
        monitor: the name of the metric in the logs; epochs without it are ignored.
        mode: "max" if higher is better, "min" if lower is.

    Attributes:
        best_epoch: the epoch (from 0) whose weights the student has after training; None if no epoch
            had the metric, so that the student's weights were not changed.
        best_value: the metric in that epoch, or None.

    Raises:
        ValueError: if the metric is a validation metric, or the mode is unknown.
        TypeError: when training begins, if the model is not a distiller or a scheme.

    Warns:
        UserWarning: when training ends, if no epoch had the metric.

    Example:
        >>> best = tfkd.datafree.KeepBest()
        >>> distiller.fit(callbacks=[tfkd.datafree.Health(), best])
    """

    model: Distillation

    def __init__(self, monitor: str = "health_agreement", mode: str = "max") -> None:
        super().__init__()
        if monitor.startswith("val_"):
            raise ValueError(
                "`monitor` must be a metric that needs no real data: a student chosen by validation data "
                "is not data-free, and looks better on these data than it is. Received: "
                f"monitor={monitor!r}. Use 'health_agreement', with tfkd.datafree.Health before KeepBest "
                "in the callbacks, or keras.callbacks.ModelCheckpoint if you want to choose by real data."
            )
        check_choice("mode", mode, ("max", "min"))
        self.monitor, self.mode = monitor, mode
        self.best_epoch: int | None = None
        self.best_value: float | None = None
        self._best: Snapshot | None = None

    def on_train_begin(self, logs=None):
        check_distillation(self.model, self)
        self.best_epoch = self.best_value = self._best = None

    def on_epoch_end(self, epoch, logs=None):
        if in_warm_up(self.model):
            return
        value = (logs or {}).get(self.monitor, np.nan)
        if np.isfinite(value) and not self._worse(value):
            self.best_epoch, self.best_value = epoch, float(value)
            self._best = Snapshot(w for student in self.model.students for w in student.weights)

    def on_train_end(self, logs=None):
        if self._best is not None:
            self._best.restore()
            return
        warnings.warn(
            f"No epoch had a finite {self.monitor!r}, so the student is that of the last epoch. Put the "
            "callback that measures it, such as tfkd.datafree.Health, before KeepBest.",
            stacklevel=2,
        )

    def _worse(self, value):
        if self.best_value is None:
            return False
        return value < self.best_value if self.mode == "max" else value > self.best_value
