"""KeepLastGood: back to the last finite weights."""

import itertools

import keras
import numpy as np


class KeepLastGood(keras.callbacks.Callback):
    """Stops when the loss is no longer finite and gives the student its last good weights back.

    A trained generator gets its own back, too.

    Attributes:
        stopped_epoch: the epoch (from 0) in which the loss stopped being finite; None if it never
            did.
        good_epoch: the epoch whose end the student was returned to; the one before the first for the
            start of training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stopped_epoch: int | None = None
        self.good_epoch: int | None = None
        self._epoch = 0
        self._weights = None

    def on_train_begin(self, logs=None):
        self.stopped_epoch = self._weights = None

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        if self._weights is None:
            self._weights, self.good_epoch = self._current_weights(), epoch - 1

    def on_train_batch_end(self, batch, logs=None):
        if not _finite(logs):
            self._stop()

    def on_epoch_end(self, epoch, logs=None):
        if self.stopped_epoch is None:
            # The loss of the last step was computed before its update, so look at the weights too.
            weights = self._current_weights()
            if _finite(logs) and all(np.isfinite(w).all() for w in itertools.chain(*weights)):
                self._weights, self.good_epoch = weights, epoch
            else:
                self._stop()

    def _models(self):
        generator = getattr(self.model, "generator", None)
        return [self.model.student] if generator is None else [self.model.student, generator]

    def _current_weights(self):
        return [model.get_weights() for model in self._models()]

    def _stop(self):
        if self.stopped_epoch is not None:
            return
        self.stopped_epoch = self._epoch
        self.model.stop_training = True
        for model, weights in zip(self._models(), self._weights, strict=True):
            model.set_weights(weights)
        print(
            f"\nThe loss is not finite in epoch {self._epoch + 1}: training stopped, and the "
            f"student has its weights from the end of epoch {self.good_epoch + 1} again. A lower "
            "learning rate usually helps."
        )


def _finite(logs):
    return all(np.isfinite(value).all() for value in (logs or {}).values())
