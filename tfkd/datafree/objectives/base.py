"""What every generator objective sees, and how objectives are declared."""

import dataclasses
from typing import ClassVar

import keras

from tfkd.names import snake_case


@dataclasses.dataclass(frozen=True)
class Synthesized:
    """One batch of a generator's images and what the networks make of it.

    Attributes:
        images: `(batch, height, width, channels)`.
        teacher_logits: `(batch, classes)`.
        student_logits: `(batch, classes)`, student in inference mode; None unless an objective
            asked for it.
        teacher_seen: values of the teacher's taps that the objective asked for, in its order.
    """

    images: object
    teacher_logits: object
    student_logits: object
    teacher_seen: tuple = ()


@dataclasses.dataclass(frozen=True)
class Objective:
    """One term of what a trained generator minimizes.

    Args:
        weight: factor of the term in the total.
    """

    weight: float = 1.0
    needs_student: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The class's name in snake case, used in `History`."""
        return snake_case(type(self).__name__)

    def taps(self, teacher: keras.Model) -> tuple[str, ...]:
        """Taps of the teacher that the term reads."""
        return ()

    def value(self, batch: Synthesized):
        """The term's scalar value, before its weight."""
        raise NotImplementedError
