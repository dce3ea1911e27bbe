"""StopDistilling: labels alone once the student gains nothing more."""

import warnings

import keras
import numpy as np

from tfkd._core.checks import check_choice, check_int, check_number
from tfkd.distilling import Distillation, Distiller
from tfkd.distilling._protocol import check_distillation


class StopDistilling(keras.callbacks.Callback):
    """Switches distillation off once a value has stopped improving; labels alone are learned from then on.

    In a `tfkd.Distiller` with a teacher the labels' loss then counts 1 (`student_loss_weight` becomes
    1), and the teacher is not asked any more; in every scheme the factors of the distillation losses
    become 0. What the callback has seen is kept in variables of the loss sets, so a resumed run goes on
    waiting, and a distiller that has switched stays so. In the list of callbacks it comes before
    `keras.callbacks.BackupAndRestore` and after schedules of the weights.

    To switch at a known epoch use `tfkd.callbacks.StudentLossWeightSchedule`, after which the labels' loss
    counts 1, too, or `tfkd.callbacks.WeightSchedule(stop=...)`, which leaves it its share.

    Args:
        monitor: name of the value among the logs; epochs that lack it, or in which it is not finite, are
            passed over.
        patience: epochs without improvement after which distillation stops, at least 1.
        min_delta: by how much a value has to be better than the best to count, at least 0.
        mode: "min" if lower is better, "max" if higher; "auto" for "max" where the name says accuracy,
            AUC, precision, recall or agreement, else "min".

    Attributes:
        stopped: whether distillation is off.

    Raises:
        ValueError: for numbers out of range or an unknown mode, and when training begins, if the labels'
            loss of a distiller has no share.
        TypeError: when training begins, if the model is not a distiller or a scheme.

    Warns:
        UserWarning: when training ends, if no epoch had the value.

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
                "StopDistilling leaves the labels' loss alone, and `student_loss_weight` is 0. Build the "
                "distiller with a share above 0, and compile it with the labels' `loss`."
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # Here, so that it holds in a resumed run too, whose share is that of a new distiller.
        if not self.stopped:
            return
        for loss_set in self.model.loss_sets:
            loss_set.factors.assign(np.zeros(loss_set.factors.shape))
        # Self-distillation weighs exits by its share, which stays.
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
                f"No epoch had a finite {self.monitor!r}, so distillation went on to the end. Give `fit` "
                "validation_data, or monitor another value of the logs.",
                stacklevel=2,
            )


_HIGHER_IS_BETTER = "acc", "auc", "precision", "recall", "agreement"
