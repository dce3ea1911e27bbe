"""The folder in which a non-chief worker keeps what it needs to resume."""

import os
import shutil

from tfkd.pipelines._run_folder import Interrupted, RunFolder


class WorkerFolder(RunFolder):
    """A worker's folder within the state of a run, kept until the run is complete.

    Args:
        path: the folder of the run.
        index: index of the worker.
        resume: whether to continue an interrupted run.
    """

    def __init__(self, path: str | os.PathLike, index: int, resume: bool) -> None:
        self.path = os.path.join(os.fspath(path), "state", f"worker-{index}")
        # The chief stores the run's settings.
        self.settings = {}
        self._resume, self._begun = resume, False

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._begun and isinstance(error, KeyboardInterrupt):
            raise Interrupted from error

    def begin(self) -> None:
        """Creates the folder; removes files of an earlier run."""
        if not self._resume:
            shutil.rmtree(self.path, ignore_errors=True)
        os.makedirs(self.path, exist_ok=True)
        self._begun = True

    def check(self) -> None:
        """Raises OSError if the folder was removed since the run began."""
        if not os.path.isdir(self.path):
            raise OSError(
                f"`folder`: {self.path!r} was removed while a worker was writing to it. Start all workers "
                "again, and do not touch the folder until they end."
            )

    @property
    def finished(self) -> bool:
        """Always False: only the chief can tell whether the run is complete."""
        return False

    def finish(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
