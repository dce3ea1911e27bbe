"""KeepEpochs: saves a network at several stages of training, to choose a teacher among them."""

import os
import re

import keras

from tfkd._core import files
from tfkd._core.checks import check_int
from tfkd.distilling import Distillation

_NAME = re.compile(r"epoch_(\d+)\.keras")


class KeepEpochs(keras.callbacks.Callback):
    """Saves the model being trained every few epochs, each time to a new file.

    A network that was trained for a shorter time is often a better teacher for a small student than the
    finished one; `tfkd.schemes.choose_teacher` chooses among the files. For a distiller, the student is
    saved. A file is written completely or not at all, and a resumed run writes the same file names.

    Args:
        folder: where files `epoch_0005.keras` and so on are written; it is created if necessary.
        every: the number of epochs between files, at least 1; the first file is written after epoch
            `every`.

    Raises:
        ValueError: if `every` is below 1; when training starts, if a scheme trains several students.

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
        """The files in the folder, from this run or an earlier one, in the order of their epochs."""
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
        """The network to save."""
        if not isinstance(self.model, Distillation):
            return self.model
        if len(self.model.students) != 1:
            raise ValueError(
                f"KeepEpochs saves one network, but {type(self.model).__name__} trains "
                f"{len(self.model.students)} students. Use keras.callbacks.ModelCheckpoint instead."
            )
        return self.model.students[0]
