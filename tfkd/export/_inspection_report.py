"""The report of an inspection of a network, as one HTML file."""

import os
from collections.abc import Sequence

from tfkd._core.extras import require
from tfkd.export._page import write_page

_TEMPLATE = "inspection.html.j2"


def write_inspection_report(
    path: str | os.PathLike,
    rows: Sequence[tuple[str, str]],
    notes: Sequence[str],
    command: str,
    repeat: str | None = None,
) -> None:
    """Writes a self-contained HTML report of an inspection.

    Args:
        path: the file to write.
        rows: names and texts of the findings.
        notes: additional sentences.
        command: the command line for the next step.
        repeat: the command line that repeats the inspection; None for none.

    Raises:
        ImportError: if jinja2 is missing.
        OSError: if the file cannot be written.
    """
    require("jinja2", "report", "A report")
    write_page(path, _TEMPLATE, rows=rows, notes=notes, command=command, repeat=repeat)
