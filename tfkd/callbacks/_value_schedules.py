"""Schedules of the temperature and of `student_loss_weight`."""

from collections.abc import Callable
from typing import Any

import keras

from tfkd.distilling import Distillation, Distiller
from tfkd.distilling._protocol import check_distillation
from tfkd.losses._keras_losses import KerasLogits
from tfkd.losses._softened import SoftenedLoss


class TemperatureSchedule(keras.callbacks.Callback):
    """Sets the temperature of distillation losses at the start of each epoch.

    Steps are not retraced, and a resumed run continues with the right temperature. In a scheme with several
    students it applies to all of them.

    Args:
        schedule: a function from the epoch, counted from 0, to a temperature above 0.
        loss: the name of a student's loss; None for all losses that have a temperature.

    Raises:
        ValueError: when training begins, if there is no such loss with a temperature; in an epoch, if its
            temperature is not positive.
        TypeError: when training begins, if the model is not a distiller or a scheme.

    Example:
        >>> annealing = TemperatureSchedule(lambda epoch: max(1.0, 10.0 - epoch))
        >>> distiller.fit(x, y, epochs=20, callbacks=[annealing])

    Reference:
        Jafari et al., "Annealing Knowledge Distillation", 2021, whose temperature decays to 1.
    """

    model: Distillation

    def __init__(self, schedule: Callable[[int], float], loss: str | None = None) -> None:
        super().__init__()
        self.schedule, self.loss = schedule, loss

    def on_train_begin(self, logs: dict | None = None) -> None:
        check_distillation(self.model, self)
        if not self._losses():
            known = [loss.name for loss in self._all_losses()]
            raise ValueError(
                f"`loss` must be one of the losses {known} that has a temperature. Received: "
                f"loss={self.loss!r}."
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        for loss in self._losses():
            loss.temperature = self.schedule(epoch)

    def _losses(self) -> list[Any]:
        """The losses whose temperature is scheduled."""
        named = [loss for loss in self._all_losses() if self.loss in (None, loss.name)]
        made_of = [each for loss in named for each in loss.computed()]
        return [loss for loss in made_of if isinstance(loss, SoftenedLoss | KerasLogits)]

    def _all_losses(self):
        return [loss for loss_set in self.model.loss_sets for loss in loss_set.knowledge_losses]


class StudentLossWeightSchedule(keras.callbacks.Callback):
    """Sets a distiller's `student_loss_weight`, the weight of the labels' loss, at the start of each epoch.

    Steps are retraced only when the weight changes to or from 0 or 1.

    Args:
        schedule: a function from the epoch, counted from 0, to a weight in [0, 1].

    Raises:
        TypeError: when training begins, if the model is not a `tfkd.Distiller`.
        ValueError: in an epoch, if its weight is out of range.

    Example:
        >>> distiller.fit(x, y, epochs=10, callbacks=[StudentLossWeightSchedule(lambda epoch: epoch / 10)])

    Reference:
        Clark et al., "BAM! Born-Again Multi-Task Networks for Natural Language Understanding", 2019, whose
        teacher annealing raises the weight from 0 to 1.
    """

    def __init__(self, schedule: Callable[[int], float]) -> None:
        super().__init__()
        self.schedule = schedule

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not isinstance(self.model, Distiller):
            raise TypeError(
                "StudentLossWeightSchedule needs a tfkd.Distiller. Received: "
                f"{self.model!r} of type {type(self.model)}."
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.model.student_loss_weight = self.schedule(epoch)
