"""Adversarial objective: images on which student and teacher disagree."""

import dataclasses
from typing import ClassVar

from keras import ops

from tfkd.datafree.objectives.base import Objective, Synthesized
from tfkd.losses import l1_logits, soft_targets

_DISTANCES = {"l1": l1_logits, "kl": soft_targets}


def adversarial(teacher_logits, student_logits, distance: str = "l1"):
    """Negated mean distance between teacher and student.

    Reduction: mean over the batch (and over classes for "l1", summed over them for "kl").
    Direction of "kl": KL(teacher || student), temperature 1.

    Args:
        teacher_logits: `(batch, classes)`.
        student_logits: `(batch, classes)`.
        distance: "l1" (DFAD) or "kl" (ZSKT).

    Returns:
        A float32 scalar, at most 0.

    Raises:
        ValueError: for an unknown distance.

    Reference:
        Fang et al., "Data-Free Adversarial Distillation", 2019; Micaelli and Storkey, "Zero-shot
        Knowledge Transfer via Adversarial Belief Matching", 2019.
    """
    if distance not in _DISTANCES:
        raise ValueError(
            f"`distance` must be one of {sorted(_DISTANCES)}. Received: distance={distance!r}."
        )
    return -ops.mean(_DISTANCES[distance](teacher_logits, student_logits))


@dataclasses.dataclass(frozen=True)
class Adversarial(Objective):
    """`adversarial` as an objective.

    Args:
        weight: factor of the term.
        distance: "l1" or "kl".
    """

    distance: str = "l1"
    needs_student: ClassVar[bool] = True

    def value(self, batch: Synthesized):
        return adversarial(batch.teacher_logits, batch.student_logits, self.distance)
