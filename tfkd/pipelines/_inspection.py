"""Inspection: what was found out about a trained network, as text, JSON and HTML."""

import dataclasses
import io
import json
import os
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tfkd._core import files
from tfkd.export import write_inspection_report

_WIDTH = 108


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found out about one thing.

    Attributes:
        text: it in words; "not known: " and the reason where it could not be found out.
        value: it as JSON can hold it; None where it is not known.
    """

    text: str
    value: Any = None


def not_known(reason: object) -> Finding:
    """A finding that something could not be found out, and why."""
    return Finding(f"not known: {' '.join(str(reason).split())}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `tfkd.inspect_model` found out about a trained network; each attribute is a `Finding`.

    Attributes:
        format: what it was read from.
        architecture: which kind of model it is.
        inputs: names, shapes and dtypes.
        outputs: likewise.
        task: what its outputs mean, and how that was found.
        scaling: how its inputs are scaled, with the evidence.
        parameters: how many numbers it has learned.
        flops: floating-point operations for one input.
        tflite: bytes and milliseconds as a float32 TFLite file.
        normalizations: how many batch normalizations it has.
        thinning: whether it can be a student at half its width.
        pruning: which layers can be pruned.
        quantization: which layers can be trained in 8 bits.
        recipe: how `tfkd-data-free` teaches its student by default.
        time: roughly how long that takes on this machine.
        command: the command line that makes a smaller student of it.
        notes: what has to be said of it as a teacher: a list of sentences.

    Example:
        >>> inspection = tfkd.inspect_model("teacher.keras")
        >>> print(inspection.summary())
        >>> inspection.parameters.value
    """

    format: Finding
    architecture: Finding
    inputs: Finding
    outputs: Finding
    task: Finding
    scaling: Finding
    parameters: Finding
    flops: Finding
    tflite: Finding
    normalizations: Finding
    thinning: Finding
    pruning: Finding
    quantization: Finding
    recipe: Finding
    time: Finding
    command: Finding
    notes: tuple[str, ...] = ()

    # It says what it found, and lacks nothing that was asked for.
    problem = None

    @classmethod
    def names(cls) -> list[str]:
        """The names of all findings, in their order."""
        return [field.name for field in dataclasses.fields(cls) if field.name != "notes"]

    def rows(self) -> list[tuple[str, str]]:
        """Names and texts of all findings but the command."""
        return [(name, getattr(self, name).text) for name in self.names() if name != "command"]

    def summary(self) -> str:
        """All findings as a table, then notes and the command."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in self.rows():
            table.add_row(Text(name), Text(_printable(text)))
        console = Console(file=io.StringIO(), width=_WIDTH, color_system=None)
        console.print(table)
        lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # pyright: ignore
        lines += [f"Note: {_printable(note)}" for note in self.notes]
        return "\n".join([*lines, "", _printable(self.command.text)])

    def to_json(self) -> str:
        """All findings by name, each with "text" and "value", and the notes, as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def write_json(self, path: str | os.PathLike) -> None:
        """Writes `to_json()` to a file, whole or not at all.

        Raises:
            OSError: if the file cannot be written.
        """
        files.write_text(path, self.to_json() + "\n")

    def report(self, path: str | os.PathLike, repeat: str | None = None) -> None:
        """Writes the findings as one HTML file.

        Args:
            path: the file to write.
            repeat: the command line that this was found out by; None if there was none.

        Raises:
            ImportError: if jinja2 is missing.
            OSError: if the file cannot be written.
        """
        write_inspection_report(path, self.rows(), self.notes, self.command.text, repeat)


def _printable(text):
    """A text without what would command a terminal: names come from files of strangers."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
