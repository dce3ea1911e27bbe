"""Entropy objective: images that the teacher classifies with confidence."""

import dataclasses
from typing import ClassVar

from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized
from tfkd.tasks import Classification, ClassTask


def entropy(teacher_logits, task: ClassTask | None = None):
    """Entropy of the teacher's predictions in nats: mean over the batch, summed over independent labels.

    Args:
        teacher_logits: `(batch, classes)`.
        task: the task; None for classification.

    Returns:
        A float32 scalar between 0 and log(classes).

    Reference:
        Choi et al., "Data-Free Network Quantization With Adversarial Knowledge Distillation", 2020.
        Computed from log-softmax, so that probabilities of 0 give 0.
    """
    task = Classification(teacher_logits.shape[1:]) if task is None else task
    log_p = task.log_outcomes(teacher_logits)
    return -ops.sum(ops.exp(log_p) * log_p) / ops.cast(ops.shape(log_p)[0], "float32")


@dataclasses.dataclass(frozen=True)
class Entropy(Objective):
    """`entropy` as an objective.

    Args:
        weight: the weight of the term.
    """

    needs_classes: ClassVar[bool] = True

    def value(self, batch: Synthesized):
        return entropy(batch.teacher_logits, batch.class_task)
