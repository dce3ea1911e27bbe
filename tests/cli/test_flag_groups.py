"""A program of somebody else's, with groups of ours beside flags of its own."""

import pytest
from absl import flags
from absl.testing import flagsaver

from tfkd.cli import compress, data_free, flag_groups


@pytest.fixture
def third_program():
    """Where flags can be defined; they are gone afterwards."""
    with flagsaver.flagsaver():
        yield


def test_a_third_program_has_its_own_student(third_program):
    # Importing our programs has defined nothing.
    assert not {*data_free.PROGRAM.flags, *compress.PROGRAM.flags} & set(flags.FLAGS)
    teacher, run = flag_groups.teacher(), flag_groups.run()
    flags.DEFINE_list("student", ["small", "smaller"], "which students")
    flags.FLAGS(["third", "--teacher=t.keras", "--student=a,b,c", "--seed=3"])
    assert flags.FLAGS.student == ["a", "b", "c"]
    assert teacher.arguments()["teacher"] == "t.keras" and run.arguments()["seed"] == 3
    assert "recipe" not in flags.FLAGS


def test_a_group_defines_its_flags_once(third_program):
    first = flag_groups.student()
    flags.FLAGS(["third", "--student=lenet5"])
    assert flag_groups.student() is first
    assert first.arguments() == {"students": "lenet5", "inherit": False}


def test_flags_belong_to_the_module_that_asks_for_them(third_program):
    flag_groups.student()
    assert flags.FLAGS.find_module_defining_flag("inherit") == __name__


def test_a_program_begins_with_the_defaults():
    for typed in ("--seed=5", "--seed=0"):
        with flagsaver.flagsaver():
            run = flag_groups.run()
            assert run.values()["seed"] == 0
            flags.FLAGS(["third", typed])


def test_a_flag_of_another_meaning_is_refused(third_program):
    flags.DEFINE_string("student", None, "the person whose homework is marked")
    with pytest.raises(ValueError) as refused:
        flag_groups.student()
    message = str(refused.value)
    assert "--student has two meanings: 'the person whose homework is marked'" in message
    assert f"in module {__name__}" in message and "tfkd's group 'student'" in message
    assert f"Rename the flag in {__name__}, or leave" in message
