"""Inspection: findings about a trained network, as text, JSON and HTML."""

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
    """One finding.

    Attributes:
        text: the finding in words; "not known: " and the reason if it could not be determined.
        value: the finding in a JSON-compatible form; None if not known.
    """

    text: str
    value: Any = None


def not_known(reason: object) -> Finding:
    """A finding that something could not be determined, and why."""
    return Finding(f"not known: {' '.join(str(reason).split())}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """The findings of `tfkd.inspect_model` about a trained network; each attribute is a `Finding`.

    Attributes:
        format: the format it was read from.
        architecture: the kind of model.
        inputs: names, shapes and dtypes.
        outputs: names, shapes and dtypes.
        task: the meaning of its outputs, and how that was determined.
        scaling: how its inputs are scaled, with the evidence.
        parameters: number of parameters.
        flops: floating-point operations for one input.
        tflite: bytes and milliseconds as a float32 TFLite file.
        normalizations: number of batch normalizations.
        thinning: whether it can have a half-width student.
        pruning: which layers can be pruned.
        quantization: which layers can be quantized in training.
        recipe: how `tfkd-data-free` trains its student by default.
        time: rough duration of that on this machine.
        command: the command line that trains a smaller student.
        notes: remarks about it as a teacher: a list of sentences.

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

    # It reports what it found; nothing requested is missing.
    problem = None

    @classmethod
    def names(cls) -> list[str]:
        """The names of all findings, in order."""
        return [field.name for field in dataclasses.fields(cls) if field.name != "notes"]

    def rows(self) -> list[tuple[str, str]]:
        """Names and texts of all findings except the command."""
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
        """Writes `to_json()` to a file atomically.

        Raises:
            OSError: if the file cannot be written.
        """
        files.write_text(path, self.to_json() + "\n")

    def report(self, path: str | os.PathLike, repeat: str | None = None) -> None:
        """Writes the findings as one HTML file.

        Args:
            path: the file to write.
            repeat: the command line of the inspection; None if there was none.

        Raises:
            ImportError: if jinja2 is missing.
            OSError: if the file cannot be written.
        """
        write_inspection_report(path, self.rows(), self.notes, self.command.text, repeat)


def _printable(text):
    """A text without terminal control characters: names come from untrusted files."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
