"""Feature alignment: images whose features agree, or disagree, in the two networks."""

import dataclasses
from typing import ClassVar

import keras
from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized
from tfkd.losses import attention_transfer


@dataclasses.dataclass(frozen=True)
class FeatureAlignment(Objective):
    """Distance of the networks' attention maps at a pair of layers, mean over the batch.

    With a positive weight it makes images on which the student attends to the same places as the teacher;
    with a negative weight it is an adversarial objective on intermediate features.

    Args:
        weight: the weight of the term.
        teacher_layer: a tap of the teacher, with feature maps `(batch, height, width, channels)`.
        student_layer: a tap of the student, with feature maps of the same form.

    Reference:
        Zagoruyko, Komodakis, "Paying More Attention to Attention", 2017, for the distance.
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
