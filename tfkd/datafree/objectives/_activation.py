"""Activation objective: images that excite the teacher's features."""

import dataclasses

import keras
from keras import ops

from tfkd import taps
from tfkd.datafree.objectives._base import Objective, Synthesized


def activation(features):
    """Negated mean absolute activation over batch and features.

    Args:
        features: any float tensor, usually the input of the teacher's last layer.

    Returns:
        A float32 scalar, at most 0.

    Reference:
        Chen et al., "Data-Free Learning of Student Networks" (DAFL), 2019.
    """
    return -ops.mean(ops.abs(ops.cast(features, "float32")))


@dataclasses.dataclass(frozen=True)
class Activation(Objective):
    """`activation` as an objective.

    Args:
        weight: the weight of the term.
        layer: a tap of the teacher; None for the input of its last layer with weights.
    """

    layer: str | None = None

    def taps(self, teacher: keras.Model) -> tuple[str, ...]:
        return (self.layer or taps.penultimate(teacher),)

    def value(self, batch: Synthesized):
        (features,) = batch.teacher_seen
        return activation(features)
