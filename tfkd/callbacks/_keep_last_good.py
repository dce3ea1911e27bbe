"""KeepLastGood: returns to the last finite weights."""

import warnings
from typing import Protocol

import keras
import numpy as np

from tfkd._core.snapshots import Snapshot
from tfkd.distilling import Distillation
from tfkd.distilling._protocol import check_distillation


class _Trained(Distillation, Protocol):
    """A distiller or scheme in `fit`, which can be stopped."""

    stop_training: bool


class KeepLastGood(keras.callbacks.Callback):
    """Stops training when the loss is no longer finite, and restores the students' last good weights.

    The weights of trained sources of inputs, such as a generator, are restored too. There may be several
    students.

    Attributes:
        stopped_epoch: the epoch (from 0) in which the loss stopped being finite; None if it never
            did.
        good_epoch: the epoch whose final weights were restored; for the weights before training, the epoch
            before the first, such as -1.

    Raises:
        TypeError: when training begins, if the model is not a distiller or a scheme.

    Warns:
        UserWarning: when it stops training.

    Example:
        >>> distiller.fit(x, y, callbacks=[tfkd.callbacks.KeepLastGood()])
    """

    model: _Trained

    def __init__(self) -> None:
        super().__init__()
        self.stopped_epoch: int | None = None
        self.good_epoch: int | None = None
        self._epoch = 0
        self._good: Snapshot | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        check_distillation(self.model, self)
        self.stopped_epoch = self._good = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch
        if self._good is None:
            self._good, self.good_epoch = self._now(), epoch - 1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not _finite(logs):
            self._stop()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.stopped_epoch is None:
            # The loss of the last step was computed before its update, so check the weights too.
            now = self._now()
            if _finite(logs) and now.is_finite:
                self._good, self.good_epoch = now, epoch
            else:
                self._stop()

    def _now(self):
        learning = [*self.model.students, *self.model.sources]
        return Snapshot(weight for part in learning for weight in part.weights)

    def _stop(self):
        if self.stopped_epoch is not None:
            return
        self.stopped_epoch = self._epoch
        self.model.stop_training = True
        # Set when the first epoch began.
        assert self._good is not None and self.good_epoch is not None
        self._good.restore()
        good = self.good_epoch + 1
        warnings.warn(
            f"The loss is not finite in epoch {self._epoch + 1}: training was stopped, and the student's "
            f"weights from {f'the end of epoch {good}' if good else 'before training'} were restored. A "
            "lower learning rate usually helps.",
            stacklevel=2,
        )


def _finite(logs):
    return all(np.isfinite(value).all() for value in (logs or {}).values())
