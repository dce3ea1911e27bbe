"""What every generator objective sees, and how objectives are declared."""

import dataclasses
from typing import ClassVar

import keras


@dataclasses.dataclass(frozen=True)
class Synthesized:
    """One batch of a generator's images and what the networks make of it.

    Attributes:
        images: `(batch, height, width, channels)`.
        teacher_logits: `(batch, classes)`.
        student_logits: `(batch, classes)`, student in inference mode; None unless an objective
            asked for it.
        teacher_seen: the teacher's tapped values, by tap.
    """

    images: object
    teacher_logits: object
    student_logits: object
    teacher_seen: dict


@dataclasses.dataclass(frozen=True)
class Objective:
    """One term of what a generator, or an image being refined, minimizes.

    Args:
        weight: factor of the term in the total.
    """

    weight: float = 1.0
    needs_student: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The class's name in snake case, used in `History`."""
        words = "".join("_" + c.lower() if c.isupper() else c for c in type(self).__name__)
        return words.lstrip("_")

    def taps(self, teacher: keras.Model) -> tuple[str, ...]:
        """Taps of the teacher that the term reads."""
        return ()

    def value(self, batch: Synthesized):
        """The term's scalar value, before its weight."""
        raise NotImplementedError
