"""The report of an inspection: what was found out about a network, as one HTML file."""

import os
from collections.abc import Sequence

from tfkd._core import files
from tfkd._core.extras import require
from tfkd.export._figures import template_environment

_TEMPLATE = "inspection.html.j2"


def write_inspection_report(
    path: str | os.PathLike, rows: Sequence[tuple[str, str]], notes: Sequence[str], command: str
) -> None:
    """Writes a self-contained HTML report of an inspection.

    Args:
        path: the file to write.
        rows: names and texts of what was found out.
        notes: sentences that have to be said besides.
        command: the command line to go on with.

    Raises:
        ImportError: if jinja2 is missing.
        OSError: if the file cannot be written.
    """
    require("jinja2", "report", "A report")
    template = template_environment().get_template(_TEMPLATE)
    files.write_text(path, template.render(rows=rows, notes=notes, command=command))
