"""`tfkd`, which starts the programs by a word, and `tfkd doctor`."""

import importlib
import sys

import pytest

import tfkd
import tfkd_programs
from tests.cli import running
from tfkd.cli import doctor


@pytest.fixture
def started(monkeypatch):
    """What `tfkd` was called with, and which module it started."""
    modules = []
    monkeypatch.setattr(tfkd_programs, "_run", lambda module: modules.append((module, sys.argv)) or 0)

    def start(*typed):
        monkeypatch.setattr(sys, "argv", ["tfkd", *typed])
        return tfkd_programs.main(), modules

    return start


@pytest.mark.parametrize(("word", "module"), tfkd_programs.PROGRAMS.items())
def test_a_word_starts_a_program_with_its_flags(started, word, module):
    assert started(word, "--seed=1") == (0, [(module, ["tfkd", "--seed=1"])])
    assert callable(importlib.import_module(f"tfkd.cli.{module}").run)


@pytest.mark.parametrize("typed", [[], ["--help"], ["-h"], ["help"]])
def test_help_says_what_each_program_does(started, capsys, typed):
    assert started(*typed)[0] == 0
    shown = capsys.readouterr().out
    for word in tfkd_programs.PROGRAMS:
        (line,) = [line for line in shown.splitlines() if line.startswith(f"  {word} ")]
        assert line.endswith(".") and len(line) > 40


def test_version(started, capsys):
    assert started("--version")[0] == 0
    assert capsys.readouterr().out.split() == ["tfkd", tfkd.__version__]


def test_other_words_are_bad_input(started, capsys):
    assert started("inspct") == (2, [])
    assert "Did you mean 'inspect'?" in capsys.readouterr().err


def test_the_doctor_finds_this_machine_well():
    shown = running.run(doctor.PROGRAM).stdout
    assert f"tfkd {tfkd.__version__}" in shown and "files work" in shown
