"""Losses that suit what a teacher answers: one class, independent labels or numbers."""

from collections.abc import Sequence
from typing import Any

import keras

from tfkd import taps
from tfkd._core.graphs import has_graph
from tfkd.distilling._compatibility import loss_named
from tfkd.losses import BernoulliTargets, KnowledgeLoss, SoftTargets
from tfkd.losses._base import check_classes
from tfkd.losses._keras_losses import KerasLogits
from tfkd.tasks import Classification, LanguageModel, Task, marked_task
from tfkd.tasks._endings import activation_of, last_operation

_OF_OUTPUTS = None, taps.INPUT_GRADIENT
# The labels' losses that take each output for a label of its own.
_OF_LABELS = (
    keras.losses.binary_crossentropy,
    keras.losses.BinaryCrossentropy,
    keras.losses.binary_focal_crossentropy,
    keras.losses.BinaryFocalCrossentropy,
)
_REMEDY = (
    'Use tfkd.losses.BernoulliTargets on logits: tfkd.load_teacher(teacher, task="multi_label") gives such '
    "a teacher, and the student's last layer has no activation. If exactly one class is right, say so: "
    'tfkd.load_teacher(teacher, task="classification").'
)


def losses_for(
    teacher: keras.Model | None, student: keras.Model, losses: Sequence[KnowledgeLoss]
) -> list[KnowledgeLoss]:
    """The losses, with the task's own in place of soft targets where the teacher is not a classifier.

    Args:
        teacher: a teacher that `tfkd.load_teacher` may have marked with its task; None if there is none.
        student: who learns.
        losses: what was asked for.

    Returns:
        As many losses.

    Raises:
        ValueError: if another loss takes the outputs for the logits of one softmax, which they are not.
    """
    task = None if teacher is None else marked_task(teacher)
    # Logits of a vocabulary are those of a softmax at each position.
    if task is not None and not isinstance(task, Classification | LanguageModel):
        return [_suiting(loss, task) for loss in losses]
    for loss in filter(_is_over_classes, losses):
        _check_several(loss, student)
        if task is None and teacher is not None and _ends_in_sigmoids(teacher):
            _refuse(loss, f"the teacher {teacher.name!r} ends in sigmoids, one for each of several labels")
    return list(losses)


def check_with_labels_loss(
    teacher: keras.Model | None, losses: Sequence[KnowledgeLoss], labels_loss: Any
) -> None:
    """Raises ValueError if the labels are independent of each other and a loss takes them for one softmax.

    Args:
        teacher: the teacher; one that is marked as a classifier is taken at its word.
        losses: the knowledge losses.
        labels_loss: what `compile` takes as `loss`.
    """
    # Of several outputs each may have a loss and labels of its own kind.
    if teacher is None or marked_task(teacher) is not None or keras.tree.is_nested(labels_loss):
        return
    if is_of_independent_labels(labels_loss):
        for loss in filter(_is_over_classes, losses):
            _refuse(loss, "`loss` is a binary cross-entropy, so each output is a label of its own")


def is_of_independent_labels(labels_loss: Any) -> bool:
    """Whether a labels' loss, as `compile` takes it, has a label of its own for each output."""
    named = loss_named(labels_loss)
    return named in _OF_LABELS or isinstance(named, _OF_LABELS[1::2])


def take_logits(losses: Sequence[KnowledgeLoss]) -> bool:
    """Whether any of the losses takes the networks' outputs for logits."""
    outputs = [loss for loss in losses if not (loss.teacher_layer or loss.student_layer)]
    return any(loss.over_classes or isinstance(loss, BernoulliTargets | KerasLogits) for loss in outputs)


def _suiting(loss: KnowledgeLoss, task: Task) -> KnowledgeLoss:
    if not _is_over_classes(loss):
        return loss
    if type(loss) is SoftTargets:
        return task.soft_loss(loss.temperature)
    instead = type(task.soft_loss()).__name__
    raise ValueError(
        f"`distillation_losses`: {loss.title} takes outputs for the logits of one softmax, and "
        f"those of the teacher are of the task {task.name!r}. Use tfkd.losses.{instead}, a loss of inner "
        'layers, or tfkd.load_teacher(..., task="classification") if exactly one class is right.'
    )


def _is_over_classes(loss):
    return loss.over_classes and (loss.teacher_layer in _OF_OUTPUTS or loss.student_layer in _OF_OUTPUTS)


def _check_several(loss, student):
    """One loss for all of several outputs is checked when it sees them."""
    outputs = getattr(student, "outputs", None) or ()
    if len(outputs) == 1 or not loss.takes_structures:
        for output in outputs:
            check_classes(loss.title, output)


def _ends_in_sigmoids(model):
    single = has_graph(model) and len(model.outputs) == 1
    return single and activation_of(last_operation(model)) == "sigmoid"


def _refuse(loss, seen):
    raise ValueError(
        f"`distillation_losses`: {loss.title} takes outputs for the logits of one softmax, and "
        f"{seen}. {_REMEDY}"
    )
