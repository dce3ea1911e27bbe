"""Creates figures and writes them to files."""

import os
from typing import Any

from tfkd._core import files


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """A figure and its axes `(rows, columns)`; sizes in inches.

    Raises:
        ImportError: if matplotlib is missing.
    """
    try:
        # The object interface: no global state and no window, whatever the user's backend.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'tfkd[report]'.") from error

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def save_figure(figure: Any, path: str | os.PathLike) -> None:
    """Writes a figure, completely or not at all, in the format of the path's extension."""
    with files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
