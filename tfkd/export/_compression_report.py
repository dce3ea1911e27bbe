"""The report of a compression: its variants side by side."""

import os

from tfkd.export import _pictures as pictures
from tfkd.export._page import write_page

_TEMPLATE = "compression.html.j2"


def write_compression_report(path: str | os.PathLike, metrics: dict) -> None:
    """Writes a self-contained HTML report of a run of tfkd-compress.

    Args:
        path: the file to write.
        metrics: the contents of `metrics.json`.

    Raises:
        ImportError: if jinja2 or matplotlib is missing.
        OSError: if the file cannot be written.
    """
    pictures.require_report()
    rows = metrics["variants"]
    write_page(path, _TEMPLATE, metrics=metrics, first=rows[0], last=rows[-1], picture=pictures.sizes(rows))
