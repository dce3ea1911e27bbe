"""Losses that suit what a teacher answers: one class, independent labels or numbers."""

from collections.abc import Sequence

import keras

from tfkd import taps
from tfkd.losses import KnowledgeLoss, SoftTargets
from tfkd.tasks import Classification, Task, marked_task

_OF_OUTPUTS = None, taps.INPUT_GRADIENT


def losses_for(teacher: keras.Model | None, losses: Sequence[KnowledgeLoss]) -> list[KnowledgeLoss]:
    """The losses, with the task's own in place of soft targets where the teacher is not a classifier.

    Args:
        teacher: a teacher that `tfkd.load_teacher` may have marked with its task; None if there is none.
        losses: what was asked for.

    Returns:
        As many losses.

    Raises:
        ValueError: if another loss takes the outputs for the logits of one softmax, which they are not.
    """
    task = None if teacher is None else marked_task(teacher)
    if task is None or isinstance(task, Classification):
        return list(losses)
    return [_suiting(loss, task) for loss in losses]


def _suiting(loss: KnowledgeLoss, task: Task) -> KnowledgeLoss:
    of_outputs = loss.teacher_layer in _OF_OUTPUTS or loss.student_layer in _OF_OUTPUTS
    if not (loss.over_classes and of_outputs):
        return loss
    if type(loss) is SoftTargets:
        return task.soft_loss(loss.temperature)
    instead = type(task.soft_loss()).__name__
    raise ValueError(
        f"`distillation_losses`: {type(loss).__name__} takes outputs for the logits of one softmax, and "
        f"those of the teacher are of the task {task.name!r}. Use tfkd.losses.{instead}, a loss of inner "
        'layers, or tfkd.load_teacher(..., task="classification") if exactly one class is right.'
    )
