"""Texts and their labels from csv, tsv and txt files."""

import csv
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# A cell of the csv module holds 128 KiB otherwise, and whole articles have more.
_LONGEST_CELL = 2**24
_TEXT, _LABEL = ("text", "sentence", "review", "content"), ("label", "class", "category", "sentiment")


class Texts(NamedTuple):
    """Texts, and what they are.

    Args:
        texts: the texts, none of them empty.
        labels: int32 `(texts,)`, class numbers; None where there are none.
        class_names: the classes in their order; None where there are no labels.
    """

    texts: list[str]
    labels: np.ndarray | None = None
    class_names: list[str] | None = None

    def chosen(self, rows: np.ndarray) -> "Texts":
        """Some of them, by number."""
        labels = None if self.labels is None else self.labels[rows]
        return self._replace(texts=[self.texts[row] for row in rows], labels=labels)


def read_texts(
    path: str | os.PathLike,
    argument: str,
    text_column: str | int | None = None,
    label_column: str | int | None = None,
    class_names: Sequence[str] | None = None,
) -> Texts:
    """The texts of a file.

    Args:
        path: a `.txt` file with a text a line; or a `.csv` or `.tsv` file, in which cells with separators
            or line breaks stand in double quotes. A first line that holds a column's name is a header.
        argument: what messages call the file.
        text_column: name or number, from 0, of the texts' column; None for one that is called so, else the
            first.
        label_column: likewise of the labels'; None for one that is called so, else, of two columns, the
            other one, else none.
        class_names: the classes in their order; None for those in the file, sorted, as numbers if all are.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no texts, a column is missing, or a label is not a class; says where.
    """
    path, what = os.fspath(path), f"`{argument}`"
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{what}: there is no file {path!r}. Give a .csv, .tsv or .txt file.")
    what = f"{what}: {path!r}"
    kind = os.path.splitext(path)[1].lower()
    if kind not in (".csv", ".tsv", ".txt"):
        raise ValueError(f"{what} must end in .csv, .tsv or .txt, which says how it is read.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if kind == ".txt":
                return Texts(_not_empty([line.strip() for line in file], what))
            rows = _rows(file, "," if kind == ".csv" else "\t")
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{what} is not a text file in UTF-8 that can be read: {error}.") from None
    return _of_rows(rows, what, text_column, label_column, class_names)


def _rows(file, separator):
    """Numbered lines' cells, empty lines left out."""
    csv.field_size_limit(_LONGEST_CELL)
    # Quotes are ordinary characters in most tsv files.
    quoting = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    reader = csv.reader(file, delimiter=separator, quoting=quoting, strict=separator == ",")
    return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]


def _of_rows(rows, what, text_column, label_column, class_names):
    if not rows:
        raise ValueError(f"{what} is empty. Give a file with a text in each line.")
    first = [cell.strip() for cell in rows[0][1]]
    named = [each for each in (text_column, label_column) if isinstance(each, str) and not each.isdigit()]
    header = bool(named) or first[0].lower() in (*_TEXT, *_LABEL)
    names = first if header else None
    rows = rows[1:] if header else rows
    text = _column(text_column, names, len(first), _TEXT, "text_column", what)
    label = _column(label_column, names, len(first), _LABEL, "label_column", what)
    text = 0 if text is None else text
    if label is None and len(first) == 2:
        label = 1 - text
    for number, row in rows:
        if len(row) <= max(text, label or 0):
            raise ValueError(
                f"{what}, line {number}, has {len(row)} columns, where column {max(text, label or 0)} is "
                "needed. Put texts that hold the separator in double quotes."
            )
    texts = _not_empty([row[text].strip() for _, row in rows], what)
    if label is None:
        return Texts(texts)
    return Texts(texts, *_labels([(number, row[label].strip()) for number, row in rows], what, class_names))


def _column(asked, names, count, usual, argument, what):
    """The number of a column; None if it was not asked for and none is called so."""
    if asked is None:
        lower = [name.lower() for name in names or ()]
        return next((lower.index(name) for name in usual if name in lower), None)
    if names is not None and asked in names:
        return names.index(asked)
    if str(asked).isdigit() and int(asked) < count:
        return int(asked)
    raise ValueError(
        f"`{argument}` must be the name or the number, from 0, of a column. Received: {asked!r} for {what}, "
        f"which has {names if names is not None else f'{count} columns and no header'}."
    )


def _not_empty(texts, what):
    if not any(texts):
        raise ValueError(f"{what} has no texts. Give a file with a text in each line.")
    missing = [number for number, text in enumerate(texts) if not text]
    if missing and any(texts[missing[0] :]):
        raise ValueError(f"{what}: text {missing[0]} is empty, the first one being 0. Take its line away.")
    return [text for text in texts if text]


def _labels(cells, what, class_names):
    found = {cell for _, cell in cells}
    if class_names is None:
        numbers = all(cell.isdigit() for cell in found)
        class_names = sorted(found, key=int) if numbers else sorted(found)
        if numbers and {int(name) for name in class_names} <= set(range(int(class_names[-1]) + 1)):
            # A class of which there is no text is one, too.
            class_names = [str(number) for number in range(int(class_names[-1]) + 1)]
    names = {str(name): number for number, name in enumerate(class_names)}
    numbers = {str(number): number for number in range(len(class_names))}
    known = names if found <= set(names) else numbers
    for number, cell in cells:
        if cell not in known:
            raise ValueError(
                f"{what}, line {number}: the label {cell!r} is none of the classes {list(class_names)[:20]}. "
                "Name all classes in their order with `labels`, or mend the line."
            )
    return np.array([known[cell] for _, cell in cells], "int32"), list(map(str, class_names))
