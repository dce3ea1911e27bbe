"""Networks whose training depends on the length of `fit`."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import keras


@runtime_checkable
class FollowsFit(Protocol):
    """A network that needs the number of its forward passes in training mode."""

    def expect_passes(self, passes: int) -> None:
        """Sets the number of passes that the current `fit` will make from now on."""
        ...


class TellLength(keras.callbacks.Callback):
    """Passes the number of forward passes to networks as soon as it is known.

    Args:
        networks: any networks; those that are not `FollowsFit` are ignored.
        passes: converts a number of steps to passes, if a step does not make exactly one.
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
        # The length of a Python generator is known only after its first epoch.
        self._tell((self.params["epochs"] - epoch - 1) * self._seen)

    def _tell(self, steps):
        if not self._told:
            for network in self.networks:
                network.expect_passes(self.passes(steps))
        self._told = True


def with_length(callbacks: Any, networks: Sequence[Any], passes: Callable[[int], int] = int) -> Any:
    """The callbacks given to `fit`, plus `TellLength` if a network needs it."""
    telling = TellLength(networks, passes)
    if not telling.networks:
        return callbacks
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(telling)
        return callbacks
    given = callbacks if isinstance(callbacks, list | tuple) else [callbacks] * (callbacks is not None)
    # After callbacks that restore a run, whose networks already have the number.
    return [*given, telling]
