"""Pages: self-contained files rendered from a template."""

import base64
import functools
import os
import re
from typing import Any

from tfkd._core import files
from tfkd.export import _figures as figures

_HEADING = re.compile("<h2>(.*?)</h2>")


def write_page(path: str | os.PathLike, template: str, **values: Any) -> None:
    """Renders a template to a file.

    Args:
        path: the file to write.
        template: the name of a template in this package.
        **values: the values that it shows.

    Raises:
        OSError: if the file cannot be written.
    """
    files.write_text(path, filled_in(template, **values))


def filled_in(template: str, **values: Any) -> str:
    """Renders a template of this package; HTML templates escape the values."""
    return _environment().get_template(template).render(values)


@functools.cache
def _environment():
    """The Jinja environment, with this package's templates and its filters for figures and pictures."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tfkd.export", ""),
        autoescape=lambda name: name is None or name.endswith(".html.j2"),
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent=figures.percent,
        size=figures.size,
        seconds=figures.seconds,
        score=figures.score_text,
        score_name=figures.score_name,
        compiled=figures.compiled,
        base64=lambda png: base64.b64encode(png).decode(),
        png_size=_png_size,
        headings=_headings,
        anchored=_anchored,
        cell=_cell,
        sides=lambda shape: " x ".join("any" if side is None else str(side) for side in shape),
    )
    return environment


def _png_size(png: bytes) -> tuple[int, int]:
    """The width and height of a PNG in pixels, from its header."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _headings(html: str) -> list[tuple[str, Any]]:
    """The anchors of second-level headings, and their texts."""
    from markupsafe import Markup

    return [(_anchor(title), Markup(title)) for title in _HEADING.findall(html)]


def _anchored(html: str) -> Any:
    """HTML whose second-level headings have anchors."""
    from markupsafe import Markup

    return Markup(_HEADING.sub(lambda found: f'<h2 id="{_anchor(found[1])}">{found[1]}</h2>', html))


def _anchor(title):
    return re.sub(r"\W+", "-", title.lower())


def _cell(text: object) -> str:
    """A text for a line or cell of Markdown, escaped, since names and messages are not markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(text).split()))
