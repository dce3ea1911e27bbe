"""Terminal output of a program, which must not fail when standard output is closed."""

import contextlib
import logging as python_logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from absl import logging


class LastingStream:
    """A text stream that discards its output once it cannot be written, as when `head` closed it.

    Args:
        stream: an open text stream.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._lasting(lambda: self._stream.write(text))

    def flush(self) -> None:
        self._lasting(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lasting(self, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except OSError:
            # Its buffer is discarded, too.
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), self._stream.fileno())
            return do()


@contextlib.contextmanager
def lasting_output() -> Iterator[None]:
    """Keeps standard output and error working without a reader."""
    streams = LastingStream(sys.stdout), LastingStream(sys.stderr)
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()


@contextlib.contextmanager
def short_warnings(in_flags: Callable[[str], str]) -> Iterator[None]:
    """Shows warnings meant for users, each once on its own line; hides others.

    Args:
        in_flags: rewrites a message about arguments to name flags.
    """

    def show(message, category, filename, lineno, file=None, line=None):
        print(f"Warning: {in_flags(' '.join(str(message).split()))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("once", UserWarning)
        # Renamed options of recipes.
        warnings.filterwarnings("once", category=DeprecationWarning, module="tfkd")
        warnings.showwarning = show
        yield


def only_errors() -> None:
    """Makes libraries log errors only: TensorFlow logs a lot while saving and converting."""
    logging.set_verbosity(logging.ERROR)
    for logger in (tf.get_logger(), python_logging.getLogger("matplotlib")):
        logger.setLevel(python_logging.ERROR)
