"""The lock of a run's folder: one run at a time writes there."""

import json
import os
import socket

LOCK = "run.lock"


class RunLock:
    """Holds a folder for one run.

    The system releases the lock when the process ends, however it ends, so the lock of a killed run on this
    host is taken over. Whether a run on another host is alive cannot be known.

    Args:
        folder: an existing folder.

    Raises:
        ValueError: if another run holds it, here or perhaps on another host.
        OSError: if the folder cannot be written.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self.path = folder, os.path.join(folder, LOCK)
        self._file = None
        # The run that created the file may end, and remove it, between opening and locking.
        while self._file is None:
            self._file = self._locked()

    def _locked(self):
        # Not truncated before the lock is held.
        file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+", encoding="utf-8")
        try:
            self._take(file)
        except BaseException:
            file.close()
            raise
        if self._is_there(file):
            return file
        file.close()
        return None

    def _take(self, file):
        try:
            _lock(file)
        except BlockingIOError:
            raise ValueError(
                f"`folder`: {self._folder!r} is in use by another run, {_named(_holder(file))}. Wait until "
                "it ends, or name another folder."
            ) from None
        holder = _holder(file)
        if holder and holder["host"] != socket.gethostname():
            raise ValueError(
                f"`folder`: {self._folder!r} is in use by a run on another host, {_named(holder)}, or was "
                f"when that run was killed. If it no longer runs, remove {self.path!r}; or name another "
                "folder."
            )
        file.seek(0)
        file.truncate()
        json.dump({"process": os.getpid(), "host": socket.gethostname()}, file)
        file.flush()

    def _is_there(self, file):
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(file.fileno()))
        except OSError:
            return False

    def check(self) -> None:
        """Raises OSError if the folder, or its lock, is no longer there."""
        if self._file is None or not self._is_there(self._file):
            raise OSError(
                f"`folder`: {self._folder!r} was removed or replaced while a run was writing to it, so the "
                "run ends. Start it again, and do not touch the folder until it ends."
            )

    def release(self) -> None:
        """Releases the lock; further calls do nothing."""
        if self._file is None:
            return
        if self._is_there(self._file):
            os.remove(self.path)
        self._file.close()
        self._file = None


def _lock(file):
    """Locks a file, or raises BlockingIOError."""
    try:
        import fcntl
    except ImportError:
        # Windows does not allow removing an open file; there, two runs on one host go undetected.
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file):
    """The holder recorded in a lock file; None if it cannot be read."""
    file.seek(0)
    try:
        told = json.load(file)
        return {"process": int(told["process"]), "host": str(told["host"])}
    except (ValueError, TypeError, KeyError):
        return None


def _named(holder):
    return f"process {holder['process']} on {holder['host']}" if holder else "whose name cannot be read"
