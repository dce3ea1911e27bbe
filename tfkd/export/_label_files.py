"""Files with the names of classes, one per line."""

import os
import re


def read_labels(path: str | os.PathLike) -> list[str]:
    """Reads the names of classes from a text file with one name per line.

    If each line starts with its number, counted from 0, as in Teachable Machine's `labels.txt`, the number
    is dropped.

    Args:
        path: a UTF-8 text file.

    Returns:
        The names, in the order of the classes.

    Raises:
        ValueError: naming the file, if it cannot be read as text, has an empty line, or has no names.

    Example:
        >>> tfkd.export.export_tflite(model, "model.tflite", labels=tfkd.export.read_labels("labels.txt"))
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip() for line in file.read().rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            "`labels` must be a UTF-8 text file with one name per line. Received: "
            f"{os.fspath(path)!r}, which cannot be read: {error}."
        ) from error
    if not lines or not all(lines):
        where = f"line {lines.index('') + 1} is empty" if lines else "it is empty"
        raise ValueError(
            f"`labels` must have the name of a class on each line. Received: {os.fspath(path)!r}: {where}."
        )
    numbered = [re.fullmatch(r"(\d+)\s+(.+)", line) for line in lines]
    if all(found and int(found[1]) == i for i, found in enumerate(numbered)):
        return [found[2] for found in numbered if found]
    return lines
