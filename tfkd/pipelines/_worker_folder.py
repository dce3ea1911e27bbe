"""Where a worker that is not the chief keeps what it needs to go on."""

import os
import shutil

from tfkd.pipelines._run_folder import Interrupted, RunFolder


class WorkerFolder(RunFolder):
    """A worker's folder within the state of a run, which the chief owns, until the run is complete.

    Args:
        path: the folder of the run.
        index: of the worker.
        resume: continue an interrupted run.
    """

    def __init__(self, path: str | os.PathLike, index: int, resume: bool) -> None:
        self.path = os.path.join(os.fspath(path), "state", f"worker-{index}")
        # The chief keeps what the run is asked for.
        self.settings = {}
        self._resume, self._begun = resume, False

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._begun and isinstance(error, KeyboardInterrupt):
            raise Interrupted from error

    def begin(self) -> None:
        """Makes the folder; what another run has left in it goes away."""
        if not self._resume:
            shutil.rmtree(self.path, ignore_errors=True)
        os.makedirs(self.path, exist_ok=True)
        self._begun = True

    def check(self) -> None:
        """Raises OSError if the folder was removed since the run has begun."""
        if not os.path.isdir(self.path):
            raise OSError(
                f"`folder`: {self.path!r} was removed while a worker was writing to it. Start all workers "
                "again, and leave the folder alone until their end."
            )

    @property
    def finished(self) -> bool:
        """Whether the run is complete, which only the chief knows."""
        return False

    def finish(self) -> None:
        """Drops it all."""
        shutil.rmtree(self.path, ignore_errors=True)
