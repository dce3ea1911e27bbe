"""Texts and their labels from csv, tsv and txt files."""

import csv
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# The csv module limits cells to 128 KiB by default, but whole articles are longer.
_LONGEST_CELL = 2**24
# This many classes are plausible with any number of texts.
_FEW_CLASSES = 20
_EMPTY = "{} is empty. Give a file with a text in each line."
# Usual names of columns.
_TEXT, _LABEL = ("text", "sentence", "review", "content"), ("label", "class", "category", "sentiment")


class Texts(NamedTuple):
    """Texts with their labels.

    Args:
        texts: the texts, none of them empty.
        labels: int32 `(texts,)`, class indices; None if there are none.
        class_names: the classes in order; None without labels.
    """

    texts: list[str]
    labels: np.ndarray | None = None
    class_names: list[str] | None = None

    def chosen(self, rows: np.ndarray) -> "Texts":
        """A selection of the texts, by index."""
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
        path: a `.txt` file with one text per line, or a `.csv` or `.tsv` file. In `.csv` files cells with
            commas or line breaks are in double quotes; in `.tsv` files quotes are ordinary characters. A
            first line that contains a usual or requested column name is a header.
        argument: name of the argument with the file, for messages.
        text_column: name, or index from 0, of the column with texts; None for one with a usual name,
            otherwise the first.
        label_column: the same for labels; None for one with a usual name, otherwise the other one of two
            columns, otherwise none.
        class_names: the classes in order; None for those in the file, sorted, numerically if all are
            numbers.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it has no texts, a column is missing, labels are missing though classes are named, or
            a label is not a class; the message says where.
    """
    path, what = os.fspath(path), f"`{argument}`"
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{what}: the file {path!r} does not exist. Give a .csv, .tsv or .txt file."
        )
    what = f"{what}: {path!r}"
    kind = os.path.splitext(path)[1].lower()
    if kind not in (".csv", ".tsv", ".txt"):
        raise ValueError(f"{what} must end in .csv, .tsv or .txt, which determines how it is read.")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            if kind != ".txt":
                rows = _rows(file, "," if kind == ".csv" else "\t")
                return _of_rows(rows, what, text_column, label_column, class_names)
            lines = [text for line in file if (text := line.strip())]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{what} cannot be read as UTF-8 text: {error}.") from None
    if not lines:
        raise ValueError(_EMPTY.format(what))
    if label_column is not None or class_names is not None:
        raise ValueError(
            f"{what} has no labels: .txt files cannot have any. Give a .csv or .tsv file with two columns."
        )
    return Texts(lines)


def _rows(file, separator):
    """The cells of each line, with its number; empty lines are skipped."""
    csv.field_size_limit(_LONGEST_CELL)
    quoting = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    reader = csv.reader(file, delimiter=separator, quoting=quoting, strict=separator == ",")
    found = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    return [(number, row) for number, row in found if any(row)]


def _of_rows(rows, what, text_column, label_column, class_names):
    if not rows:
        raise ValueError(_EMPTY.format(what))
    first = rows[0][1]
    named = [each for each in (text_column, label_column) if isinstance(each, str) and not each.isdigit()]
    header = bool(named) or any(cell.lower() in (*_TEXT, *_LABEL) for cell in first)
    names, rows = (first, rows[1:]) if header else (None, rows)
    if not rows:
        raise ValueError(
            f"{what} has a header but no texts. Give a file with one text in each further line."
        )
    text = _column(text_column, names, len(first), _TEXT, "text_column", what) or 0
    label = _column(label_column, names, len(first), _LABEL, "label_column", what)
    if label is None and len(first) == 2:
        label = 1 - text
    if label is None and class_names is not None:
        raise ValueError(
            f"{what} has no labels: none of its {len(first)} columns is called {' or '.join(_LABEL)}. Name "
            "it with `label_column`."
        )
    needed = max(text, label or 0)
    for number, row in rows:
        if len(row) <= needed:
            raise ValueError(
                f"{what}, line {number}, has {len(row)} columns, but column {needed} is needed. In .csv "
                "files, put texts with commas in double quotes."
            )
        if not row[text]:
            raise ValueError(f"{what}, line {number}: the text is empty. Remove the line.")
    texts = [row[text] for _, row in rows]
    if label is None:
        return Texts(texts)
    return Texts(texts, *_labels([(number, row[label]) for number, row in rows], what, class_names))


def _column(asked, names, count, usual, argument, what):
    """The index of a column; None if it was not requested and none has a usual name."""
    if asked is None:
        lower = [name.lower() for name in names or ()]
        return next((lower.index(name) for name in usual if name in lower), None)
    if names is not None and asked in names:
        return names.index(asked)
    if str(asked).isdigit() and int(asked) < count:
        return int(asked)
    there = f"{count} columns and no header" if names is None else f"the columns {names}"
    raise ValueError(
        f"`{argument}` must be the name of a column, or its index from 0. Received: {asked!r} for {what}, "
        f"which has {there}."
    )


def _labels(cells, what, class_names):
    """The class indices of labels, and the names of all classes."""
    found = {cell for _, cell in cells}
    if class_names is None:
        class_names = sorted(found, key=int) if all(cell.isdigit() for cell in found) else sorted(found)
        if len(class_names) > max(_FEW_CLASSES, len(cells) // 2):
            raise ValueError(
                f"{what} has {len(class_names)} different labels for {len(cells)} texts. Specify the "
                "columns with `text_column` and `label_column`."
            )
    if len(class_names) < 2:
        raise ValueError(
            f"{what} has labels of one class only, {list(class_names)}. Name all classes in order with "
            "`labels`."
        )
    by_name = {str(name): number for number, name in enumerate(class_names)}
    by_number = {str(number): number for number in range(len(class_names))}
    numbers = all(cell.isdigit() for cell in found) and not found <= set(by_name)
    known = by_number if numbers else by_name
    for number, cell in cells:
        if cell not in known:
            raise ValueError(
                f"{what}, line {number}: the label {cell!r} is not one of the classes "
                f"{list(class_names)[:20]}. Name all classes in order with `labels`, or fix the line."
            )
    return np.array([known[cell] for _, cell in cells], "int32"), list(map(str, class_names))
