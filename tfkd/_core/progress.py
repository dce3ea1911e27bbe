"""What a person sees of work that takes longer than three seconds, in a terminal and in a log file."""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Iterator

import keras
from rich import get_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

# What is done sooner is not shown.
SECONDS = 3.0
# From one line in a file to the next; then twice as long each time.
_BETWEEN_LINES = 30.0

_verbose: contextvars.ContextVar[int | None] = contextvars.ContextVar("verbose", default=None)


@contextlib.contextmanager
def showing(verbose: int) -> Iterator[None]:
    """Within it, work is shown as a run is asked to.

    Args:
        verbose: 0 shows nothing; 1 lines, and what moves where there is a terminal; 2 lines only.
    """
    token = _verbose.set(verbose)
    try:
        yield
    finally:
        _verbose.reset(token)


@contextlib.contextmanager
def work(what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Shows that something is being done, and for how long, once it has taken three seconds.

    Outside of a run it is shown where Keras shows bars, too (`keras.config.disable_interactive_logging`).

    Args:
        what: is being done, such as "converting the student".
        total: of how many parts; None if nobody knows.

    Returns:
        A context manager that yields a function to call at the end of each part.

    Example:
        >>> with work("learning how kernels are rounded", total=len(layers)) as done:
        ...     for layer in layers:
        ...         learn(layer)
        ...         done()
    """
    verbose = _verbose.get()
    if verbose is None:
        verbose = int(keras.config.is_interactive_logging_enabled())
    if not verbose:
        yield lambda: None
        return
    piece = _Piece(what, total, moving=verbose == 1)
    try:
        yield piece.done
    finally:
        piece.end()


class _Piece:
    """A piece of work, shown by another thread."""

    def __init__(self, what: str, total: int | None, moving: bool) -> None:
        self._what, self._total, self._moving = what, total, moving
        self._start, self._finished = time.perf_counter(), 0
        self._bar: Progress | None = None
        self._lock, self._ended, self._shown = threading.Lock(), False, False
        self._wait(SECONDS)

    def done(self) -> None:
        """Counts a part that is finished."""
        with self._lock:
            self._finished += 1
            if self._bar is not None:
                self._bar.advance(self._bar.task_ids[0])

    def end(self) -> None:
        """Takes what moves away, and says how long it took, if it was shown at all."""
        with self._lock:
            self._ended = True
        self._timer.cancel()
        if self._bar is not None:
            self._bar.stop()
        if self._shown:
            print(f"{self._what}: {self._seconds:.0f} s", flush=True)

    @property
    def _seconds(self):
        return time.perf_counter() - self._start

    def _wait(self, seconds):
        self._timer = threading.Timer(seconds, self._show)
        self._timer.daemon = True
        self._timer.start()

    def _show(self):
        with self._lock:
            if self._ended:
                return
            self._shown = True
            # Elsewhere what moves would be written as one more line.
            if self._moving and get_console().is_terminal:
                self._bar = self._started_bar()
                return
            parts = "" if self._total is None else f", {self._finished} of {self._total}"
            print(f"{self._what} ... {self._seconds:.0f} s{parts}", flush=True)
            self._wait(max(_BETWEEN_LINES, self._seconds))

    def _started_bar(self):
        parts = [] if self._total is None else [BarColumn(), MofNCompleteColumn()]
        columns = [SpinnerColumn(), TextColumn("{task.description}"), *parts, TimeElapsedColumn()]
        bar = Progress(*columns, transient=True)
        task = bar.add_task(self._what, total=self._total, completed=self._finished)
        # The seconds before it was shown count, too.
        bar.tasks[task].start_time = bar.get_time() - self._seconds
        bar.start()
        return bar
