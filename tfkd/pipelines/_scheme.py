"""Scheme: how networks are trained with data."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from tfkd._core.options import Options
from tfkd.pipelines._course import Course, Taught


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scheme(Options):
    """How networks are trained; a subclass is a scheme, and its fields are options.

    Attributes:
        teachers: how many teachers it needs, and takes at most; None for any number.
        students: likewise for the students that are asked for.
        default_student: the student where none is asked for; None if the scheme makes its own.
        needs_unlabelled: whether it needs inputs without labels; else it takes none.
        under_strategies: whether replicas of `tf.distribute` can train its one student by one teacher.
        no_effect: arguments of the pipeline that mean nothing here, and why.
    """

    teachers: ClassVar[tuple[int, int | None]] = (1, 1)
    students: ClassVar[tuple[int, int | None]] = (0, 1)
    default_student: ClassVar[str | None] = "0.5x"
    needs_unlabelled: ClassVar[bool] = False
    under_strategies: ClassVar[bool] = False
    no_effect: ClassVar[Mapping[str, str]] = {}

    def run(self, course: Course) -> Taught:
        """Trains what there is to train."""
        raise NotImplementedError(f"{type(self).__name__} must implement run(course).")
