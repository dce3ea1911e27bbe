"""Checks of a scheme's required and unused arguments, before anything is loaded."""

from collections.abc import Sequence
from typing import Any

from tfkd.pipelines._scheme import Scheme


def check_needs(
    name: str, scheme: Scheme, teachers: Sequence, students: Sequence, unlabelled: Any, **given: Any
) -> None:
    """Raises ValueError if something a scheme needs is missing, or an argument has no effect.

    Args:
        name: name of the scheme, for messages.
        scheme: the scheme.
        teachers: the given teachers.
        students: the given students.
        unlabelled: unlabelled inputs, or None.
        **given: further arguments; None if not given.
    """
    _check_count("teacher", "trained network", name, len(teachers), *scheme.teachers)
    _check_count("students", "network", name, len(students), *scheme.students)
    if not teachers and not students:
        raise ValueError(
            f"`students`: without a `teacher`, scheme {name!r} needs a network to train, such as net.keras."
        )
    if not teachers:
        _check_without_teacher(students)
    if scheme.needs_unlabelled and unlabelled is None:
        raise ValueError(
            f"`unlabelled_data` is missing: scheme {name!r} also learns from unlabelled inputs. Give a "
            "folder of images, an npz file with x_train, or TFRecord files."
        )
    if not scheme.needs_unlabelled and unlabelled is not None:
        raise ValueError(
            f"`unlabelled_data` has no effect in scheme {name!r}. Leave it out, or use 'noisy_student'."
        )
    for argument, reason in scheme.no_effect.items():
        if given[argument] is not None:
            raise ValueError(
                f"`{argument}` has no effect in scheme {name!r}: {reason}. Received: {given[argument]!r}."
            )


def _check_count(argument, what, scheme, count, least, most):
    if count < least:
        wanted = f"one {what}" if least == most == 1 else f"at least {least} {what}s"
        raise ValueError(f"`{argument}`: scheme {scheme!r} needs {wanted}. Received: {count or 'none'}.")
    if most is not None and count > most:
        raise ValueError(f"`{argument}`: scheme {scheme!r} takes {most} at most. Received: {count}.")


def _check_without_teacher(students):
    """Raises ValueError for students derived from a teacher."""
    for each in students:
        if isinstance(each, str) and not each.endswith(".keras"):
            raise ValueError(
                f"`students`: {each!r} is derived from a `teacher`, which determines shapes and classes. "
                "Give a .keras file, or a teacher."
            )
