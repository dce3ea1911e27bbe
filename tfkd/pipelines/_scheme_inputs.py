"""What a scheme needs, and what it does not take, checked before anything is loaded."""

from collections.abc import Sequence
from typing import Any

from tfkd.pipelines._scheme import Scheme


def check_needs(
    name: str, scheme: Scheme, teachers: Sequence, students: Sequence, unlabelled: Any, **given: Any
) -> None:
    """Raises ValueError unless a scheme is given what it needs, and nothing that has no effect.

    Args:
        name: of the scheme, for messages.
        scheme: the scheme.
        teachers: those that were given.
        students: likewise.
        unlabelled: inputs without labels, or None.
        **given: further arguments, None where they were not given.
    """
    _check_count("teacher", "trained networks", name, len(teachers), *scheme.teachers)
    _check_count("students", "networks", name, len(students), *scheme.students)
    if not teachers and not students:
        raise ValueError(
            f"`students`: without a `teacher`, scheme {name!r} needs a network to train, such as net.keras."
        )
    if not teachers:
        _check_without_teacher(students)
    if scheme.needs_unlabelled and unlabelled is None:
        raise ValueError(
            f"`unlabelled_data` is missing: scheme {name!r} learns from inputs without labels, too. Give a "
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
        wanted = "one" if least == most == 1 else f"at least {least}"
        raise ValueError(
            f"`{argument}`: scheme {scheme!r} needs {wanted}, of {what}. Received: {count or 'none'}."
        )
    if most is not None and count > most:
        raise ValueError(f"`{argument}`: scheme {scheme!r} takes {most} at most. Received: {count}.")


def _check_without_teacher(students):
    """Raises ValueError for students that are made after a teacher."""
    for each in students:
        if isinstance(each, str) and not each.endswith(".keras"):
            raise ValueError(
                f"`students`: {each!r} is made after a `teacher`, which says shapes and classes. Give a "
                ".keras file, or a teacher."
            )
