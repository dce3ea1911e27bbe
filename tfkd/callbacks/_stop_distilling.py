"""StopDistilling: trains on labels only once distillation no longer helps."""

import warnings

import keras
import numpy as np

from tfkd._core.checks import check_choice, check_int, check_number
from tfkd.distilling import Distillation, Distiller
from tfkd.distilling._protocol import check_distillation


class StopDistilling(keras.callbacks.Callback):
    """Turns distillation off once a metric stops improving; training continues on labels only.

    In a `tfkd.Distiller` with a teacher, `student_loss_weight` then becomes 1 and the teacher no longer
    runs; in every scheme the factors of the distillation losses become 0. The callback's state is kept in
    variables of the loss sets, so a resumed run continues to wait, and distillation stays off once it is
    off. Place it before `keras.callbacks.BackupAndRestore` and after weight schedules in the list of
    callbacks.

    To switch at a fixed epoch, use `tfkd.callbacks.StudentLossWeightSchedule`, which can also raise the
    weight of the labels' loss to 1, or `tfkd.callbacks.WeightSchedule(stop=...)`, which leaves that weight
    unchanged.

    Args:
        monitor: the name of a value in the logs; epochs without a finite value are ignored.
        patience: the number of epochs without improvement after which distillation stops, at least 1.
        min_delta: the smallest change that counts as an improvement, at least 0.
        mode: "min" if lower is better, "max" if higher is; "auto" chooses "max" for names that contain
            accuracy, AUC, precision, recall or agreement, otherwise "min".

    Attributes:
        stopped: whether distillation is off.

    Raises:
        ValueError: if a number is out of range or the mode is unknown; when training begins, if a distiller
            does not train on labels (`student_loss_weight` is 0).
        TypeError: when training begins, if the model is not a distiller or a scheme.

    Warns:
        UserWarning: when training ends, if the value was missing in all epochs.

    Example:
        >>> stop = tfkd.callbacks.StopDistilling("val_accuracy", patience=3)
        >>> distiller.fit(x, y, epochs=50, validation_data=held_out, callbacks=[stop])

    Reference:
        Cho, Hariharan, "On the Efficacy of Knowledge Distillation", 2019 (ESKD). Deviation: there the epoch
        is fixed in advance.
    """

    model: Distillation

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        self.monitor, self.patience = monitor, check_int("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, least=0)
        check_choice("mode", mode, ("auto", "min", "max"))
        higher = mode == "max" or (mode == "auto" and any(word in monitor for word in _HIGHER_IS_BETTER))
        self._sign = 1.0 if higher else -1.0

    @property
    def stopped(self) -> bool:
        """Whether distillation is off."""
        return bool(self.model.loss_sets[0].plateau.numpy()[2] >= self.patience)

    def on_train_begin(self, logs: dict | None = None) -> None:
        check_distillation(self.model, self)
        if isinstance(self.model, Distiller) and self.model.student_loss_weight == 0:
            raise ValueError(
                "StopDistilling needs a labels' loss to continue with, but `student_loss_weight` is 0. "
                "Build the distiller with a weight above 0, and compile it with the labels' `loss`."
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # Repeated in each epoch for resumed runs, which start with a new distiller's weight.
        if not self.stopped:
            return
        for loss_set in self.model.loss_sets:
            loss_set.factors.assign(np.zeros(loss_set.factors.shape))
        # Self-distillation uses the same weight for its exits, which must not change.
        if isinstance(self.model, Distiller) and self.model.loss_set.uses_teacher:
            self.model.student_loss_weight = 1.0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        value = (logs or {}).get(self.monitor, np.nan)
        if self.stopped or not np.isfinite(value):
            return
        seen, best, waited = self.model.loss_sets[0].plateau.numpy()
        better = not seen or self._sign * (value - best) > self.min_delta
        for loss_set in self.model.loss_sets:
            loss_set.plateau.assign([1.0, value, 0.0] if better else [1.0, best, waited + 1])

    def on_train_end(self, logs: dict | None = None) -> None:
        if not self.model.loss_sets[0].plateau.numpy()[0]:
            warnings.warn(
                f"No epoch had a finite {self.monitor!r}, so distillation never stopped. Pass "
                "validation_data to `fit`, or monitor another value in the logs.",
                stacklevel=2,
            )


_HIGHER_IS_BETTER = "acc", "auc", "precision", "recall", "agreement"
