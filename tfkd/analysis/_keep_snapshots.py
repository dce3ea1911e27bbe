"""KeepSnapshots: a network's weights before training and after each epoch."""

import keras
import numpy as np


class KeepSnapshots(keras.callbacks.Callback):
    """Keeps a network's weights before training and after each epoch, in memory.

    Args:
        network: the network to keep, such as a distiller's student; None for the model being trained.

    Attributes:
        weights: a list of snapshots, the first from before training, each the result of
            `network.get_weights()`. A second `fit` appends to the list.

    Example:
        >>> snapshots = tfkd.analysis.KeepSnapshots(distiller.student)
        >>> distiller.fit(x, y, epochs=2, callbacks=[snapshots])
        >>> len(snapshots.weights)
        3
    """

    def __init__(self, network: keras.Model | None = None) -> None:
        super().__init__()
        self.network = network
        self.weights: list[list[np.ndarray]] = []

    def on_train_begin(self, logs: dict | None = None) -> None:
        if not self.weights:
            self._keep()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._keep()

    def _keep(self):
        network = self.model if self.network is None else self.network
        self.weights.append(network.get_weights())
