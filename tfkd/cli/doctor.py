"""tfkd doctor: checks that tfkd works on this machine, and shows versions and devices."""

import sys
from typing import Any

from tfkd.cli._program import Program
from tfkd.pipelines import Diagnosis, diagnose


def _diagnose(flags: Any, command: str, verbose: int) -> Diagnosis:
    return diagnose()


PROGRAM = Program(
    name="tfkd doctor",
    purpose="versions, devices, missing extras and a self-test of ten seconds.",
    example="tfkd doctor",
    pipeline=_diagnose,
    groups=[],
    needed=[],
)


def run() -> int:
    """Runs the program; returns its exit status."""
    return PROGRAM.run()


if __name__ == "__main__":
    sys.exit(run())
