"""Writes results of a benchmark into a Markdown file, between marks, so that they can be updated."""

import os

from tfkd._core import files


def write_marked(path: str, name: str, inner: str) -> None:
    """Replaces the text between the marks with a name, or appends it with marks.

    Args:
        path: a Markdown file, which may not exist yet.
        name: the name in the marks.
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
