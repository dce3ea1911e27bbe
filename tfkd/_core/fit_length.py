"""Networks whose training depends on how long it is going to be."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import keras


@runtime_checkable
class FollowsFit(Protocol):
    """A network that wants to know how many passes in training mode it will make."""

    def expect_passes(self, passes: int) -> None:
        """Takes note of how many passes the `fit` that has begun will make from now on."""
        ...


class TellLength(keras.callbacks.Callback):
    """Tells networks how many passes they will make, as soon as that is known.

    Args:
        networks: those that follow are told, others are left alone.
        passes: how many passes steps are, where a step is not one.
    """

    def __init__(self, networks: Sequence[Any], passes: Callable[[int], int] = int) -> None:
        super().__init__()
        self.networks = [network for network in networks if isinstance(network, FollowsFit)]
        self.passes, self._told, self._seen = passes, False, 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        if self.params["steps"] is not None:
            self._tell((self.params["epochs"] - epoch) * self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._seen = batch + 1

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        # A generator's length shows at its end.
        self._tell((self.params["epochs"] - epoch - 1) * self._seen)

    def _tell(self, steps):
        if not self._told:
            for network in self.networks:
                network.expect_passes(self.passes(steps))
        self._told = True


def with_length(callbacks: Any, networks: Sequence[Any], passes: Callable[[int], int] = int) -> Any:
    """The callbacks given to `fit`, and one that tells networks the length where one of them follows it."""
    telling = TellLength(networks, passes)
    if not telling.networks:
        return callbacks
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(telling)
        return callbacks
    given = callbacks if isinstance(callbacks, list | tuple) else [callbacks] * (callbacks is not None)
    # Behind those that restore a run which has been told already.
    return [*given, telling]
