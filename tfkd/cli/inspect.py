"""tfkd-inspect: describes a model and how to distil it."""

import sys
from typing import Any

from absl import flags

from tfkd.cli import flag_groups
from tfkd.cli._flag_group import FlagGroup
from tfkd.cli._program import Program
from tfkd.pipelines import Inspection, inspect_model


def _define(values):
    flags.DEFINE_string("report", None, "HTML file to write the findings to", flag_values=values)
    flags.DEFINE_string("json", None, "JSON file to write the findings to", flag_values=values)


def _inspect(
    report: str | None, json: str | None, flags: Any, command: str, **arguments: Any
) -> Inspection:
    inspection = inspect_model(**arguments)
    if json is not None:
        inspection.write_json(json)
    if report is not None:
        inspection.report(report, command)
    return inspection


PROGRAM = Program(
    name="tfkd-inspect",
    purpose="describes a trained network: inputs, outputs, scaling, cost, and possible students.",
    example="tfkd-inspect teacher.keras --report=teacher.html",
    pipeline=_inspect,
    groups=[
        flag_groups.teacher,
        FlagGroup("output", _define, lambda values: {"report": values.report, "json": values.json}),
    ],
    needed=["teacher"],
    positional="teacher",
)


def run() -> int:
    """Runs the program; returns its exit status."""
    return PROGRAM.run()


if __name__ == "__main__":
    sys.exit(run())
