"""One-hot objective: images about which the teacher is confident."""

import dataclasses
from typing import ClassVar

from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized
from tfkd.tasks import Classification, ClassTask


def one_hot(teacher_logits, targets=None, task: ClassTask | None = None):
    """The teacher's loss for a class, averaged over the batch: cross-entropy for a classifier.

    Args:
        teacher_logits: `(batch, classes)`.
        targets: int classes `(batch,)`; None for the classes that the teacher itself predicts.
        task: the task; None for classification.

    Returns:
        A float32 scalar, at least 0.

    Reference:
        Chen et al., "Data-Free Learning of Student Networks" (DAFL), 2019, for predicted classes; Yin et
        al., "Dreaming to Distill" (DeepInversion), 2020, for targets.
    """
    task = Classification(teacher_logits.shape[1:]) if task is None else task
    targets = task.group(teacher_logits) if targets is None else targets
    return ops.mean(task.target_loss(targets, teacher_logits))


@dataclasses.dataclass(frozen=True)
class OneHot(Objective):
    """`one_hot` as an objective, with the images' targets if they have any.

    Args:
        weight: the weight of the term.
    """

    needs_classes: ClassVar[bool] = True

    def value(self, batch: Synthesized):
        return one_hot(batch.teacher_logits, batch.targets, batch.class_task)
