"""How a program ends: exit statuses, errors, and what Ctrl-C and SIGTERM do."""

import signal
import threading
from types import FrameType

DONE, UNEXPECTED, BAD_INPUT, NOT_TRUSTWORTHY = 0, 1, 2, 3

MEANINGS = {
    "0": "done",
    "1": "an unexpected error, which is a bug in the program: please report it",
    "2": "bad input: flags, files or the output folder; the message says what to change",
    "3": "finished, but the result is not trustworthy, for instance because training had to stop or a file "
    "is worse than its network; the message says why",
    "130, 143": "interrupted by Ctrl-C, or by SIGTERM; the message says how to continue",
}

# Top-level packages whose errors are meant for users.
_OURS = ("tfkd", "generators")


def status_of(error: Exception) -> int:
    """The exit status of a program that ends with an error.

    Errors raised by our own code, and the system's errors about files, are meant for users. An error of the
    same type from deep inside a library is unexpected, and users could not act on it.
    """
    if isinstance(error, FloatingPointError):
        return NOT_TRUSTWORTHY
    if isinstance(error, OSError):
        return BAD_INPUT
    expected = isinstance(error, (ValueError, TypeError, ImportError, RuntimeError))
    if expected and not isinstance(error, NotImplementedError) and _raised_by_us(error):
        return BAD_INPUT
    return UNEXPECTED


def _raised_by_us(error):
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module = "" if place is None else place.tb_frame.f_globals.get("__name__", "")
    return module.partition(".")[0] in _OURS


class Interruptions:
    """A context in which Ctrl-C and SIGTERM raise KeyboardInterrupt, so that files are cleaned up.

    A second signal ends the program at once. A signal that the parent process set to be ignored stays
    ignored.

    Attributes:
        number: the signal received, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before = {}

    def __enter__(self) -> "Interruptions":
        # Python only lets the main thread set handlers.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._came)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def status(self) -> int:
        """The exit status of a program that was interrupted."""
        return 128 + (signal.SIGINT if self.number is None else self.number)

    def _came(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt
