"""The program on a file, and the command that it gives."""

import json
import shlex

import pytest
from absl import flags
from absl.testing import flagsaver

from tests.cli import running
from tfkd.cli import data_free, inspect


@pytest.mark.program
def test_a_file_is_inspected(teacher_file, tmp_path):
    html, found = tmp_path / "found.html", tmp_path / "found.json"
    done = running.run(inspect.PROGRAM, teacher_file, f"--report={html}", f"--json={found}")
    assert "parameters" in done.stdout and html.exists()
    command = json.loads(found.read_text())["command"]["text"]
    assert done.stdout.rstrip().endswith(command)
    name, *typed = shlex.split(command)
    assert name == data_free.PROGRAM.name
    with flagsaver.flagsaver():
        data_free.PROGRAM.define_flags()
        # What it says can be typed.
        assert flags.FLAGS([name, *typed]) == [name]
        assert flags.FLAGS.teacher == teacher_file


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ([], "tfkd-inspect needs --teacher"),
        (["a.keras", "b.keras"], "Unexpected arguments: a.keras b.keras"),
        (["--teacher=a.keras", "b.keras"], "Unexpected arguments: b.keras"),
        (["none.keras"], "--teacher: the file 'none.keras' does not exist"),
    ],
)
def test_what_cannot_be_inspected(typed, message):
    done = running.run(inspect.PROGRAM, *typed, status=2)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_help_shows_how_it_is_called():
    assert "Usage: tfkd-inspect TEACHER [flags]" in running.run(inspect.PROGRAM, "--help").stdout
