"""WeightSchedule: loss weights that change from epoch to epoch."""

import keras
import numpy as np


class WeightSchedule(keras.callbacks.Callback):
    """Multiplies the weight of a distillation loss by a factor that changes from epoch to epoch.

    The factor is the product of the parts that are asked for. It is kept in a variable of the distiller,
    so steps are not traced anew and a resumed run goes on with the right one.

    Args:
        loss: name or place of the loss among the distiller's; None for all of them.
        warm_up: epochs over which the factor grows linearly to 1: 1/warm_up in the first epoch.
        decay: epochs over which it falls linearly from 1 to `final`; None for no decay.
        final: where the decay ends, at least 0.
        stop: epoch from which the factor is 0; None for never.
        start: epoch that counts as the first, as in a later one of several stages.

    Raises:
        ValueError: if a number is out of its range, or when training begins, if there is no such loss.

    Example:
        >>> distiller.fit(x, y, epochs=240, callbacks=[WeightSchedule("decoupled_knowledge", warm_up=20)])

    Reference:
        Warm-up: Zhao et al., "Decoupled Knowledge Distillation", 2022. Decay: Romero et al., "FitNets",
        2015. Stop: Cho, Hariharan, "On the Efficacy of Knowledge Distillation", 2019.
    """

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

    def on_epoch_begin(self, epoch, logs=None):
        factors = self.model.loss_factors.numpy()
        factors[self._places()] = self.factor(epoch)
        self.model.loss_factors.assign(factors)

    def _places(self):
        names = [loss.name for loss in self.model.distillation_losses]
        if self.loss is None:
            return list(range(len(names)))
        if self.loss in names:
            return [place for place, name in enumerate(names) if name == self.loss]
        if isinstance(self.loss, int) and 0 <= self.loss < len(names):
            return [self.loss]
        raise ValueError(f"`loss` must be one of {names}, or its place. Received: loss={self.loss!r}.")
