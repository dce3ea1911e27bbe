"""KeepEpochs: networks as they were while they trained, to choose a teacher among them."""

import os
import re

import keras

from tfkd._core import files
from tfkd._core.checks import check_int
from tfkd.distilling import Distillation

_NAME = re.compile(r"epoch_(\d+)\.keras")


class KeepEpochs(keras.callbacks.Callback):
    """Saves the network that is trained every few epochs, each time as a whole file of its own.

    A network that has trained for a shorter time often teaches a small student better than the finished
    one; `tfkd.schemes.choose_teacher` chooses among the files. Of a distiller the student is saved. A file
    is written whole or not at all, and a run that goes on writes the same names.

    Args:
        folder: where files `epoch_0005.keras` and so on are written; it is made if need be.
        every: epochs from one file to the next, at least 1; the first file is of epoch `every`.

    Raises:
        ValueError: if `every` is below 1, or when training begins, if a scheme trains several students.

    Example:
        >>> kept = tfkd.callbacks.KeepEpochs("teachers", every=1)
        >>> teacher.fit(x, y, epochs=2, callbacks=[kept])
        >>> kept.files
        ['teachers/epoch_0001.keras', 'teachers/epoch_0002.keras']

    Reference:
        Cho, Hariharan, "On the Efficacy of Knowledge Distillation", 2019 (ESKD), whose teachers stop early.
    """

    def __init__(self, folder: str | os.PathLike, every: int = 1) -> None:
        super().__init__()
        self.folder, self.every = os.fspath(folder), check_int("every", every)

    @property
    def files(self) -> list[str]:
        """The files that are there, of this run or one before it, in the order of their epochs."""
        there = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        kept = sorted((int(match[1]), name) for name in there if (match := _NAME.fullmatch(name)))
        return [os.path.join(self.folder, name) for _, name in kept]

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._network()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if (epoch + 1) % self.every == 0:
            with files.replacing(os.path.join(self.folder, f"epoch_{epoch + 1:04d}.keras")) as temporary:
                self._network().save(temporary)

    def _network(self) -> keras.Model:
        """What is saved."""
        if not isinstance(self.model, Distillation):
            return self.model
        if len(self.model.students) != 1:
            raise ValueError(
                f"KeepEpochs keeps one network, and {type(self.model).__name__} trains "
                f"{len(self.model.students)} students. Use keras.callbacks.ModelCheckpoint instead."
            )
        return self.model.students[0]
