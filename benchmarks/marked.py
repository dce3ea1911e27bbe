"""Puts what a benchmark measured into a Markdown file, between marks, so that it can be renewed."""

import os

from tfkd._core import files


def write_marked(path: str, name: str, inner: str) -> None:
    """Replaces what stands between the marks of a name, or appends it with marks.

    Args:
        path: a Markdown file, which need not exist.
        name: of the marks.
        inner: the new text.
    """
    first, last = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = ""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
    marked = f"{first}\n{inner}\n{last}"
    if first in text:
        text = text[: text.index(first)] + marked + text[text.index(last) + len(last) :]
    else:
        text = f"{text}\n{marked}\n"
    files.write_text(path, text)
