"""Interpreting the outputs of any network as outputs of a task."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np

from tfkd.tasks._endings import activation_of_outputs, logits_of
from tfkd.tasks._finding import (
    as_task,
    assumed_task,
    known_tasks,
    marked_task,
    output_shape_of,
    task_class,
)
from tfkd.tasks._task import Task


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a network's raw outputs are interpreted as outputs of a task.

    Attributes:
        task: the task.
        activation: "softmax" or "sigmoid" if the outputs have one.
    """

    task: Task
    activation: str | None = None

    def __call__(self, outputs: np.ndarray) -> np.ndarray:
        """The interpreted outputs: float32 logits or numbers."""
        answers = np.asarray(outputs, "float32")
        if self.activation is not None:
            answers = logits_of(answers, self.activation)
        if self.task.binary_as_pair and answers.shape[-1] == 1:
            answers = np.concatenate([np.zeros_like(answers), answers], axis=-1)
        return answers


def reading_of(
    model: keras.Model, task: str | type[Task] | Task | None, ask: Callable[[], np.ndarray]
) -> Reading:
    """How to interpret the outputs of a network with any last layer.

    Args:
        model: a network of one output.
        task: its task, by name, class or object; None for its mark, or the task inferred from its last
            layer.
        ask: returns its outputs for many inputs; called if the last layer does not show the activation.

    Returns:
        The reading.

    Raises:
        TypeError: as for `as_task`.
        ValueError: as for `as_task`, or if the last activation does not fit.
    """
    shape = output_shape_of(model)
    activation = activation_of_outputs(model, ask)
    if task is None:
        task = marked_task(model) or assumed_task(activation, shape)
    task = for_network(task, shape)
    check_ending(task, activation, model.name)
    return Reading(task, activation if task.activations else None)


def for_network(task: str | type[Task] | Task, output_shape: tuple[int, ...]) -> Task:
    """Like `as_task`, for a raw network: one output of a binary classifier means two logits."""
    shape = tuple(output_shape)
    paired = task_class(task).binary_as_pair and shape[-1:] == (1,)
    return as_task(task, (*shape[:-1], 2) if paired else shape)


def check_ending(task: Task, activation: str | None, name: str) -> None:
    """Raises ValueError if outputs with an activation do not fit a task."""
    if activation is None or not task.activations or activation in task.activations:
        return
    fitting = [
        key
        for key, kind in known_tasks().items()
        if activation in kind.activations and _takes(kind, task.output_shape)
    ]
    raise ValueError(
        f"`task` {task!r} works on the input of a {' or '.join(task.activations)}, but {name!r} ends in a "
        f"{activation}. Tasks that fit: {', '.join(fitting)}."
    )


def _takes(kind, output_shape):
    try:
        for_network(kind, output_shape)
    except ValueError:
        return False
    return True
