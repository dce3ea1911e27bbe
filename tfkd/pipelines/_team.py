"""Team: the processes that train one student together."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfkd._core.replica_copies import copies
from tfkd._core.replicas import from_all
from tfkd.datafree import DataFreeDistiller
from tfkd.pipelines._networks import copied
from tfkd.pipelines._run_folder import RunFolder
from tfkd.pipelines._worker_folder import WorkerFolder


class Team:
    """The processes that train one student together under a strategy.

    All of them call the same methods in the same order. Only the chief measures, converts and writes, with
    networks outside the strategy.

    Args:
        strategy: a `tf.distribute` strategy; None to train without one.

    Attributes:
        is_chief: whether this is the process that writes.

    Raises:
        TypeError: if `strategy` is not a strategy.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None) -> None:
        if strategy is not None and not isinstance(strategy, tf.distribute.Strategy):
            raise TypeError(
                "`strategy` must be a tf.distribute.Strategy, such as tf.distribute.MirroredStrategy(), or "
                f"None. Received: {strategy!r} of type {type(strategy)}."
            )
        self.strategy: Any = strategy
        self.is_chief = strategy is None or strategy.extended.should_checkpoint

    @property
    def replicas(self) -> int:
        """The number of replicas in all processes."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    def description(self) -> str | None:
        """The number of replicas and their devices, in one line; None without a strategy."""
        if self.strategy is None:
            return None
        count, devices = self.replicas, self.strategy.extended.worker_devices
        kinds = {tf.DeviceSpec.from_string(device).device_type for device in devices}
        line = f"replicas: {count}"
        if len(devices) < count:
            line += f", {len(devices)} of them in this process,"
        reason = "" if tf.config.get_visible_devices("GPU") else ", since TensorFlow sees no GPU"
        return f"{line} on {' and '.join(sorted(kinds))}{reason}"

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A context manager for the whole run, in which only the chief warns.

        Raises:
            RuntimeError: if another worker has ended.
        """
        with warnings.catch_warnings():
            if not self.is_chief:
                warnings.simplefilter("ignore")
            try:
                yield
            except (tf.errors.AbortedError, tf.errors.UnavailableError) as error:
                raise RuntimeError(
                    "Another worker has ended or cannot be reached, so this one ends, too. Check that "
                    "worker's message for the reason. Start all workers again, with `resume`."
                ) from error

    def chief_says(self, value: int) -> int:
        """The chief's value in all processes; waits for all of them."""
        return value if self.strategy is None else from_all(self.strategy, value)[0]

    def folder(
        self, path: str | os.PathLike, settings: Mapping[str, Any], resume: bool, overwrite: bool
    ) -> RunFolder:
        """The folder this process writes to; arguments as for `RunFolder`."""
        if self.is_chief:
            return RunFolder(path, settings, resume, overwrite)
        return WorkerFolder(path, self.strategy.cluster_resolver.task_id, resume)

    def begin(self, folder: RunFolder) -> None:
        """Starts writing: the chief first, which may clear an earlier run."""
        if self.is_chief:
            folder.begin()
        self.chief_says(0)
        if not self.is_chief:
            folder.begin()

    def finish(self, folders: Sequence[RunFolder]) -> None:
        """Ends a run once the chief is done; until then it may have to be resumed."""
        self.chief_says(0)
        for folder in folders:
            folder.finish()

    def scope(self) -> contextlib.AbstractContextManager:
        """The scope in which trained networks and distillers are created."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def replicated(self, model: keras.Model) -> keras.Model:
        """A copy of a network under the strategy; without a strategy, the network itself."""
        if self.strategy is None:
            return model
        with self.scope():
            return copied(model)


def take_values(own: DataFreeDistiller, replicated: DataFreeDistiller) -> None:
    """Copies the values of this process's first replica into an equal distiller and its networks.

    Args:
        own: the compiled distiller outside any strategy.
        replicated: the distiller compiled and trained under a strategy.
    """

    def state(distiller):
        return [*distiller.variables, distiller.optimizer.iterations]

    for variable, trained in zip(state(own), state(replicated), strict=True):
        variable.assign(copies(trained)[0])
