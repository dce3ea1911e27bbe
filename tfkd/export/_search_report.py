"""The report of a search: all students that were tried, and the best one."""

import os

from tfkd.export import _pictures as pictures
from tfkd.export._page import write_page

_TEMPLATE = "search.html.j2"


def write_search_report(path: str | os.PathLike, metrics: dict, picture: bytes) -> None:
    """Writes a self-contained HTML report of a run of tfkd-search.

    Args:
        path: the file to write.
        metrics: the content of `metrics.json`.
        picture: a PNG of the trials and their Pareto front.

    Raises:
        ImportError: if jinja2 or matplotlib is missing.
        OSError: if the file cannot be written.
    """
    pictures.require_report()
    write_page(path, _TEMPLATE, metrics=metrics, picture=picture)
