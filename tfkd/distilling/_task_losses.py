"""Chooses and checks losses for the teacher's task: one class, independent labels or numbers."""

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
# Label losses that treat each output as an independent label.
_OF_LABELS = (
    keras.losses.binary_crossentropy,
    keras.losses.BinaryCrossentropy,
    keras.losses.binary_focal_crossentropy,
    keras.losses.BinaryFocalCrossentropy,
)
_REMEDY = (
    'Use tfkd.losses.BernoulliTargets on logits: tfkd.load_teacher(teacher, task="multi_label") makes such '
    "a teacher, and the student's last layer must have no activation. If exactly one class is right, use "
    'tfkd.load_teacher(teacher, task="classification").'
)


def losses_for(
    teacher: keras.Model | None, student: keras.Model, losses: Sequence[KnowledgeLoss]
) -> list[KnowledgeLoss]:
    """Replaces soft targets by the loss of the teacher's task, if the teacher is not a classifier.

    Args:
        teacher: a teacher that `tfkd.load_teacher` may have marked with its task; None if there is none.
        student: the student.
        losses: the requested losses.

    Returns:
        The losses to use, one for each requested one.

    Raises:
        ValueError: if another loss treats outputs as the logits of one softmax, which they are not.
    """
    task = None if teacher is None else marked_task(teacher)
    # Logits of a vocabulary belong to a softmax at each position.
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
    """Raises ValueError if labels are independent, but a distillation loss treats them as one softmax.

    Args:
        teacher: the teacher; if its task is marked, nothing is checked.
        losses: the knowledge losses.
        labels_loss: the argument `loss` of `compile`.
    """
    # Each of several outputs may have its own loss and its own kind of labels.
    if teacher is None or marked_task(teacher) is not None or keras.tree.is_nested(labels_loss):
        return
    if is_of_independent_labels(labels_loss):
        for loss in filter(_is_over_classes, losses):
            _refuse(loss, "`loss` is a binary cross-entropy, so each output is an independent label")


def is_of_independent_labels(labels_loss: Any) -> bool:
    """Whether a labels' loss, as passed to `compile`, treats each output as an independent label."""
    named = loss_named(labels_loss)
    return named in _OF_LABELS or isinstance(named, _OF_LABELS[1::2])


def take_logits(losses: Sequence[KnowledgeLoss]) -> bool:
    """Whether any of the losses treats the networks' outputs as logits."""
    outputs = [loss for loss in losses if not (loss.teacher_layer or loss.student_layer)]
    return any(loss.over_classes or isinstance(loss, BernoulliTargets | KerasLogits) for loss in outputs)


def _suiting(loss: KnowledgeLoss, task: Task) -> KnowledgeLoss:
    if not _is_over_classes(loss):
        return loss
    if type(loss) is SoftTargets:
        return task.soft_loss(loss.temperature)
    instead = type(task.soft_loss()).__name__
    raise ValueError(
        f"`distillation_losses`: {loss.title} treats outputs as the logits of one softmax, but the "
        f"teacher's task is {task.name!r}. Use tfkd.losses.{instead}, a loss on intermediate layers, or "
        'tfkd.load_teacher(..., task="classification") if exactly one class is right.'
    )


def _is_over_classes(loss):
    return loss.over_classes and (loss.teacher_layer in _OF_OUTPUTS or loss.student_layer in _OF_OUTPUTS)


def _check_several(loss, student):
    """Checks the number of classes; a loss that takes all outputs together is checked when it sees them."""
    outputs = getattr(student, "outputs", None) or ()
    if len(outputs) == 1 or not loss.takes_structures:
        for output in outputs:
            check_classes(loss.title, output)


def _ends_in_sigmoids(model):
    single = has_graph(model) and len(model.outputs) == 1
    return single and activation_of(last_operation(model)) == "sigmoid"


def _refuse(loss, seen):
    raise ValueError(
        f"`distillation_losses`: {loss.title} treats outputs as the logits of one softmax, but "
        f"{seen}. {_REMEDY}"
    )
