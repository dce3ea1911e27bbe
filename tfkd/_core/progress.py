"""Shows the progress of work that takes longer than three seconds, in a terminal or a log file."""

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

# Work that takes less time is not shown.
SECONDS = 3.0
# The first interval between lines in a file; it then doubles each time.
_BETWEEN_LINES = 30.0

_verbose: contextvars.ContextVar[int | None] = contextvars.ContextVar("verbose", default=None)


@contextlib.contextmanager
def showing(verbose: int) -> Iterator[None]:
    """Sets how progress is shown inside the block.

    Args:
        verbose: 0 for silent; 1 for a progress bar in a terminal and lines elsewhere; 2 for lines only.
    """
    token = _verbose.set(verbose)
    try:
        yield
    finally:
        _verbose.reset(token)


@contextlib.contextmanager
def work(what: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """Shows a piece of work and its elapsed time, once it has taken three seconds.

    Outside of a run it follows Keras's own progress bars (`keras.config.disable_interactive_logging`).

    Args:
        what: the work, such as "converting the student".
        total: the number of its parts; None if unknown.

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
        """Removes the bar, and prints the total time if the work was shown at all."""
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
            # Outside a terminal every update of a bar would become another line.
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
        # Include the seconds before it was shown.
        bar.tasks[task].start_time = bar.get_time() - self._seconds
        bar.start()
        return bar
