"""tfkd-data-free: a teacher file in, a smaller student, a TFLite file and a report out, no data."""

from typing import Any

from absl import flags

from tfkd.cli import flag_groups
from tfkd.cli._flag_group import FlagGroup
from tfkd.cli._program import Program
from tfkd.pipelines import Distilled, distil


def _define(values):
    flags.DEFINE_boolean("resume", False, "continue an interrupted run", flag_values=values)


def _distil_one(**arguments: Any) -> Distilled:
    distilled = distil(**arguments)
    assert isinstance(distilled, Distilled), "--student names one student."
    return distilled


PROGRAM = Program(
    "tfkd-data-free",
    _distil_one,
    groups=[
        flag_groups.teacher,
        flag_groups.student,
        flag_groups.recipe,
        flag_groups.export,
        flag_groups.run,
        FlagGroup("resume", _define, lambda values: {"resume": values.resume}),
    ],
    needed=["teacher", "output_dir"],
)


def run() -> None:
    """Entry point of the console script."""
    PROGRAM.run()


if __name__ == "__main__":
    run()
