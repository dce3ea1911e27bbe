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
        teachers: minimum and maximum number of teachers; None for any number.
        students: the same for requested students.
        default_student: the student if none is requested; None if the scheme makes its own.
        needs_unlabelled: whether it needs unlabelled inputs; otherwise it takes none.
        under_strategies: whether replicas under `tf.distribute` can train its one student with one teacher.
        no_effect: arguments of the pipeline that have no effect here, and why.
    """

    teachers: ClassVar[tuple[int, int | None]] = (1, 1)
    students: ClassVar[tuple[int, int | None]] = (0, 1)
    default_student: ClassVar[str | None] = "0.5x"
    needs_unlabelled: ClassVar[bool] = False
    under_strategies: ClassVar[bool] = False
    no_effect: ClassVar[Mapping[str, str]] = {}

    def run(self, course: Course) -> Taught:
        """Trains the networks of the scheme."""
        raise NotImplementedError(f"{type(self).__name__} must implement run(course).")
