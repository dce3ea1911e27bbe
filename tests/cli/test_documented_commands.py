"""Commands and flags in documents are those that there are."""

import importlib
import pathlib
import re
import shlex

import pytest
from absl import flags
from absl.testing import flagsaver

import tfkd_programs
from tests.examples import finding

ROOT = pathlib.Path(__file__).parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
DOCUMENTS = [*GUIDES, *sorted((ROOT / "docs").glob("*.md"))]
# Up to what a shell does with it: a remark, another command.
COMMAND = re.compile(r"(?<![\w./-])tfkd(?:-| )([a-z][^#|&;]*)")
OF_ALL_PROGRAMS = {"flagfile", "help", "version"}


def program(word):
    """The program that `tfkd` is told to start by a word, or that has it in its name."""
    module = tfkd_programs.PROGRAMS.get(word, word)
    assert module in tfkd_programs.PROGRAMS.values(), f"tfkd has no program {word!r}"
    return importlib.import_module(f"tfkd.cli.{module}").PROGRAM


def commands(document):
    """Command lines of our programs in a document."""
    return [found[1] for line in finding.code_lines(document) if (found := COMMAND.search(line))]


def check(command):
    """Reads a command as its program would, without running it."""
    word, *typed = shlex.split(command)
    asked = program(word)
    with flagsaver.flagsaver():
        asked.define_flags()
        left = flags.FLAGS([word, *typed])[1:]
    # What a variable of the shell holds is not known.
    left = [each for each in left if not each.startswith("$")]
    assert len(left) <= bool(asked.positional), f"{left} are not flags"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_have_programs_and_flags_there_are(document, monkeypatch):
    monkeypatch.chdir(ROOT)
    for command in commands(document):
        check(command)


@pytest.mark.parametrize("command", ["data-free --techer=a.keras", "distil more", "compres --seed=1"])
def test_other_commands_are_found_out(command):
    with pytest.raises((AssertionError, flags.Error)):
        check(command)


def test_commands_are_found():
    typed = [command for document in GUIDES for command in commands(document) if "--" in command]
    assert len(typed) >= 8
    assert COMMAND.findall("$ tfkd-compress --prune=1 --quantize # as") == [
        "compress --prune=1 --quantize "
    ]


@pytest.mark.parametrize("document", GUIDES, ids=lambda path: path.stem)
def test_guides_name_flags_there_are(document):
    known = {flag for word in tfkd_programs.PROGRAMS for flag in program(word).flags}
    lines = [line for line in finding.code_lines(document) if line.startswith("--")]
    named = {flag for line in lines for flag in re.findall(r"(?<!\S)--(\w+)", line)}
    assert named <= known | OF_ALL_PROGRAMS
