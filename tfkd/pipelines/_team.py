"""Team: the processes that train one student together, and what each of them does."""

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

    All of them call the same methods in the same order. The chief alone measures, converts and writes, by
    networks outside of the strategy.

    Args:
        strategy: of `tf.distribute`; None to train outside of any.

    Attributes:
        is_chief: whether this is the process that writes.

    Raises:
        TypeError: if that is not a strategy.
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
        """How many replicas learn, in all processes."""
        return 1 if self.strategy is None else self.strategy.num_replicas_in_sync

    def description(self) -> str | None:
        """How many replicas learn, and on what, in a line; None without a strategy."""
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
        """A context of the whole run, in which the chief alone warns.

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
                    "Another worker has ended or cannot be reached, so this one ends, too. Its own message "
                    "says why. Start all workers again, with `resume`."
                ) from error

    def chief_says(self, value: int) -> int:
        """The chief's value in all processes, once all are here."""
        return value if self.strategy is None else from_all(self.strategy, value)[0]

    def folder(
        self, path: str | os.PathLike, settings: Mapping[str, Any], resume: bool, overwrite: bool
    ) -> RunFolder:
        """Where this process writes; arguments as of `RunFolder`."""
        if self.is_chief:
            return RunFolder(path, settings, resume, overwrite)
        return WorkerFolder(path, self.strategy.cluster_resolver.task_id, resume)

    def begin(self, folder: RunFolder) -> None:
        """Begins to write: the chief first, who may clear an earlier run away."""
        if self.is_chief:
            folder.begin()
        self.chief_says(0)
        if not self.is_chief:
            folder.begin()

    def finish(self, folders: Sequence[RunFolder]) -> None:
        """Ends a run once the chief has come here, which until then may have to go on with it again."""
        self.chief_says(0)
        for folder in folders:
            folder.finish()

    def scope(self) -> contextlib.AbstractContextManager:
        """Where networks and distillers that train are made."""
        return contextlib.nullcontext() if self.strategy is None else self.strategy.scope()

    def replicated(self, model: keras.Model) -> keras.Model:
        """A copy of a network under the strategy; without one, the network itself."""
        if self.strategy is None:
            return model
        with self.scope():
            return copied(model)


def take_values(own: DataFreeDistiller, replicated: DataFreeDistiller) -> None:
    """Gives a distiller, its networks included, the values of an equal one of this process's first replica.

    Args:
        own: compiled, outside of any strategy.
        replicated: compiled and trained under one.
    """

    def state(distiller):
        return [*distiller.variables, distiller.optimizer.iterations]

    for variable, trained in zip(state(own), state(replicated), strict=True):
        variable.assign(copies(trained)[0])
