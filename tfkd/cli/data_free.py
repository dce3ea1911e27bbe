"""tfkd-data-free: distils a teacher file into a smaller student and TFLite file, no data."""

import sys
from typing import Any

from tfkd.cli import flag_groups
from tfkd.cli._program import Program
from tfkd.pipelines import Distilled, distil


def _distil_one(**arguments: Any) -> Distilled | None:
    distilled = distil(**arguments)
    assert not isinstance(distilled, list), "--student names one student."
    return distilled


PROGRAM = Program(
    name="tfkd-data-free",
    purpose="distils a trained network without data; writes a smaller student, a TFLite file and a report.",
    example="tfkd-data-free --teacher=teacher.keras --student=0.5x --output_dir=runs/half",
    pipeline=_distil_one,
    groups=[
        flag_groups.teacher,
        flag_groups.student,
        flag_groups.recipe_or_auto,
        flag_groups.export,
        flag_groups.distribution,
        flag_groups.run,
    ],
    needed=["teacher", "output_dir"],
)


def run() -> int:
    """Runs the program; returns its exit status."""
    return PROGRAM.run()


if __name__ == "__main__":
    sys.exit(run())
