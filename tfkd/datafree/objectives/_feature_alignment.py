"""Feature alignment: images whose inner features agree in both networks, or disagree."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized
from tfkd.losses import attention_transfer


@dataclasses.dataclass(frozen=True)
class FeatureAlignment(Objective):
    """Distance of the networks' attention maps at a pair of layers, mean over the batch.

    With a weight above 0 images are made on which the student attends to what the teacher attends to;
    below 0 it is an adversary of the inner features.

    Args:
        weight: factor of the term.
        teacher_layer: tap of the teacher, maps `(batch, height, width, channels)`.
        student_layer: tap of the student, likewise.

    Reference:
        The distance is that of Zagoruyko, Komodakis, "Paying More Attention to Attention", 2017.
    """

    teacher_layer: str = dataclasses.field(kw_only=True)
    student_layer: str = dataclasses.field(kw_only=True)
    needs_student: ClassVar[bool] = True

    def taps(self, teacher: keras.Model) -> tuple[str, ...]:
        return (self.teacher_layer,)

    def student_taps(self, student: keras.Model) -> tuple[str, ...]:
        return (self.student_layer,)

    def value(self, batch: Synthesized):
        (teacher,), (student,) = batch.teacher_seen, batch.student_seen
        return ops.mean(attention_transfer(teacher, student))
