"""Suppresses the output that C++ libraries print to the terminal."""

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from absl import logging

# How much of the output is attached to an error.
_LAST_BYTES = 2000
_lock = threading.Lock()
_users = 0
_saved: int | None = None
_python_stderr: tuple[Any, Any] | None = None


@contextlib.contextmanager
def foreign_output() -> Iterator[None]:
    """Hides what C++ code writes to standard error inside the block; Python's own output is still shown.

    An error that leaves the block gets the end of the hidden output as a note, which its traceback shows.
    With several threads, output is hidden from the first entry to the last exit. Nothing is hidden if
    absl's verbosity is above that of warnings (`--verbosity=0`).

    Example:
        >>> with quiet.foreign_output():
        ...     content = converter.convert()
    """
    if logging.get_verbosity() > logging.WARNING:
        yield
        return
    with tempfile.TemporaryFile() as kept:
        _begin(kept.fileno())
        try:
            yield
        except Exception as error:
            if written := _end_of(kept):
                # As `add_note` of Python 3.11 does; tracebacks of 3.10 do not show it.
                vars(error).setdefault("__notes__", []).append(f"Its C++ code wrote:\n{written}")
            raise
        finally:
            _end()


def _begin(target):
    global _users, _saved, _python_stderr
    with _lock:
        _users += 1
        if _users > 1:
            return
        try:
            _saved = os.dup(2)
        except OSError:
            # There is no standard error.
            return
        _flush()
        if _is_descriptor_2(sys.stderr):
            # Warnings, tracebacks and output of other threads go here.
            seen = _Seen(sys.stderr)
            _python_stderr, sys.stderr = (sys.stderr, seen), seen
        os.dup2(target, 2)


def _end():
    global _users, _saved, _python_stderr
    with _lock:
        _users -= 1
        if _users or _saved is None:
            return
        os.dup2(_saved, 2)
        if _python_stderr is not None:
            original, seen = _python_stderr
            # Keep it if other code has replaced it in the meantime.
            if sys.stderr is seen:
                sys.stderr = original
            _python_stderr = None
        os.close(_saved)
        _saved = None


class _Seen(io.TextIOBase):
    """Python's standard error, still shown while that of C++ is hidden; safe to keep after the block.

    Args:
        original: the stream that it replaces.
    """

    def __init__(self, original: TextIO) -> None:
        self._original = original

    def write(self, text: str) -> int:
        if _saved is None:
            return self._original.write(text)
        os.write(_saved, text.encode(self._original.encoding or "utf-8", "replace"))
        return len(text)

    def flush(self) -> None:
        if _saved is None:
            self._original.flush()

    def fileno(self) -> int:
        return self._original.fileno()

    def isatty(self) -> bool:
        return self._original.isatty()


def _flush():
    if sys.stderr is not None:
        sys.stderr.flush()


def _is_descriptor_2(stream):
    try:
        return stream.fileno() == 2
    except (AttributeError, OSError, ValueError):
        return False


def _end_of(file):
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LAST_BYTES))
    return file.read().decode(errors="replace").strip()
