"""WeightSchedule: loss weights that change over epochs."""

import keras
import numpy as np

from tfkd.distilling import Distillation
from tfkd.distilling._protocol import check_distillation


class WeightSchedule(keras.callbacks.Callback):
    """Multiplies the weight of a distillation loss by a factor that changes over epochs.

    The factor is the product of the selected parts: warm-up, decay and stop. It is kept in a variable of
    the loss set, so steps are not retraced and a resumed run continues with the right factor. In a scheme
    with several students it applies to all of them.

    Args:
        loss: the name or index of a student's loss; None for all of them.
        warm_up: epochs over which the factor grows linearly to 1, from 1/warm_up in the first epoch.
        decay: epochs over which the factor decreases linearly from 1 to `final`; None for no decay.
        final: the factor at the end of the decay, at least 0.
        stop: the epoch from which the factor is 0; None for never.
        start: the epoch that counts as the first, for a later one of several stages.

    Raises:
        ValueError: if a number is out of range; when training begins, if there is no such loss.
        TypeError: when training begins, if the model is not a distiller or a scheme.

    Example:
        >>> distiller.fit(x, y, epochs=240, callbacks=[WeightSchedule("decoupled_knowledge", warm_up=20)])

    Reference:
        Warm-up: Zhao et al., "Decoupled Knowledge Distillation", 2022. Decay: Romero et al., "FitNets",
        2015. Stop: Cho, Hariharan, "On the Efficacy of Knowledge Distillation", 2019.
    """

    model: Distillation

    def __init__(
        self,
        loss: str | int | None = None,
        *,
        warm_up: int = 0,
        decay: int | None = None,
        final: float = 0.0,
        stop: int | None = None,
        start: int = 0,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("warm_up", warm_up, 0),
            ("decay", decay, 1),
            ("final", final, 0),
            ("stop", stop, 0),
            ("start", start, 0),
        ):
            if value is not None and not least <= value < np.inf:
                raise ValueError(f"`{name}` must be at least {least}. Received: {name}={value!r}.")
        self.loss, self.warm_up, self.decay, self.final = loss, warm_up, decay, final
        self.stop, self.start = stop, start

    def factor(self, epoch: int) -> float:
        """The factor in an epoch, counted from 0."""
        epoch = max(epoch - self.start, 0)
        if self.stop is not None and epoch >= self.stop:
            return 0.0
        factor = min((epoch + 1) / self.warm_up, 1.0) if self.warm_up else 1.0
        if self.decay is not None:
            factor *= 1 + (self.final - 1) * min(epoch / self.decay, 1.0)
        return factor

    def on_train_begin(self, logs: dict | None = None) -> None:
        check_distillation(self.model, self)
        for loss_set in self.model.loss_sets:
            self._indices(loss_set)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        for loss_set in self.model.loss_sets:
            factors = loss_set.factors.numpy()
            factors[self._indices(loss_set)] = self.factor(epoch)
            loss_set.factors.assign(factors)

    def _indices(self, loss_set):
        known = [loss.name for loss in loss_set.knowledge_losses]
        if self.loss is None:
            return list(range(len(known)))
        if self.loss in known:
            return [index for index, name in enumerate(known) if name == self.loss]
        if isinstance(self.loss, int) and 0 <= self.loss < len(known):
            return [self.loss]
        raise ValueError(f"`loss` must be one of {known}, or an index. Received: loss={self.loss!r}.")
