"""The task of a network: as specified, or inferred from its last layer."""

import copy
import inspect

import keras

from tfkd import tasks
from tfkd._core import names
from tfkd.tasks._classification import Classification
from tfkd.tasks._endings import MARK, activation_of, last_layer_name, last_operation
from tfkd.tasks._multi_label import MultiLabel
from tfkd.tasks._regression import Regression
from tfkd.tasks._segmentation import Segmentation
from tfkd.tasks._task import Task

_ATTRIBUTE = "tfkd_task"


def known_tasks() -> dict[str, type[Task]]:
    """The tasks by the names used in `load_teacher(task=)` and `--task`."""
    return names.members(tasks, Task, lambda task: not inspect.isabstract(task))


def task_of(model: keras.Model) -> Task:
    """The task of a network that returns logits or numbers.

    Args:
        model: a network, preferably from `tfkd.load_teacher`, which records the activation it removed.

    Returns:
        The task that the model, or the file it was loaded from, was marked with; otherwise
        `Classification`, or `Regression` for a single output.

    Raises:
        ValueError: if the model has several outputs, ends in sigmoids, or has an output that fits no task.

    Example:
        >>> tfkd.tasks.task_of(tfkd.load_teacher("teacher.keras"))
        Classification((10,))
    """
    if (known := marked_task(model)) is not None:
        return known
    shape = output_shape_of(model)
    activation = activation_of(last_operation(model))
    if activation == "sigmoid":
        raise ValueError(
            f"`model`: {model.name!r} ends in a sigmoid, so it returns probabilities. "
            "tfkd.load_teacher(model) makes a copy that returns logits and records its task."
        )
    return assumed_task(activation, shape)(shape)


def marked_task(model: keras.Model) -> Task | None:
    """The task that a model, or the file it was loaded from, was marked with; None without a mark."""
    if (known := getattr(model, _ATTRIBUTE, None)) is not None:
        return known
    name = last_layer_name(model) or ""
    if name.startswith(MARK) and (kind := known_tasks().get(name.removeprefix(MARK))):
        return kind(output_shape_of(model))
    return None


def mark(model: keras.Model, task: Task) -> keras.Model:
    """Makes `task_of` return this task for the model; returns the model."""
    setattr(model, _ATTRIBUTE, task)
    return model


def name_of_mark(model: keras.Model, task: Task) -> str | None:
    """The name for a model's last layer that records the task in its files.

    Returns:
        A name; None for classifiers, which need none, and for user-defined tasks.
    """
    kind = type(task)
    if known_tasks().get(task.name) is not kind:
        return None
    if (marked := marked_task(model)) is not None:
        return None if type(marked) is kind else MARK + task.name
    if kind is not Classification:
        return MARK + task.name
    shown = assumed_task(activation_of(last_operation(model)), task.output_shape)
    return None if shown is kind else MARK + task.name


def assumed_task(activation: str | None, output_shape: tuple[int, ...]) -> type[Task]:
    """The task that a network seems to have.

    Args:
        activation: "softmax", "sigmoid" or None: the activation of its outputs.
        output_shape: shape of its output, without the batch.

    Returns:
        `Segmentation` for maps of softmaxes, `MultiLabel` for several sigmoids, `Regression` for one output
        without a sigmoid, otherwise `Classification`.

    Raises:
        ValueError: for outputs with several axes or none.
    """
    if len(output_shape) == 3 and activation == "softmax":
        return Segmentation
    if len(output_shape) != 1:
        raise ValueError(
            f"`task` is needed: the meaning of outputs of shape {(None, *output_shape)} cannot be "
            f"inferred. Name one of the known tasks ({', '.join(known_tasks())}), such as 'segmentation' "
            "for (batch, height, width, classes) or 'masked_language_model' for (batch, tokens, "
            "vocabulary), or give a subclass of tfkd.tasks.Task."
        )
    one = output_shape[0] == 1
    if activation == "sigmoid":
        return Classification if one else MultiLabel
    return Regression if one else Classification


def task_class(task: str | type[Task] | Task) -> type[Task]:
    """The class of a task given by name, class or object.

    Raises:
        TypeError: if it is none of these.
        ValueError: for an unknown name, with close matches.
    """
    if isinstance(task, str):
        return names.lookup(known_tasks(), task, "task")
    kind = type(task) if isinstance(task, Task) else task
    if not (inspect.isclass(kind) and issubclass(kind, Task)):
        raise TypeError(
            f"`task` must be a name ({', '.join(known_tasks())}), a tfkd.tasks.Task or its class. "
            f"Received: {task!r} of type {type(task)}."
        )
    return kind


def as_task(task: str | type[Task] | Task, output_shape: tuple[int, ...]) -> Task:
    """A task given by name, class or object, for outputs of this shape.

    Raises:
        TypeError: if it is none of these.
        ValueError: for an unknown name, with close matches, or an output that does not fit the task. Open
            sizes in one of the shapes match any size.
    """
    output_shape = tuple(output_shape)
    if not isinstance(task, Task):
        return task_class(task)(output_shape)
    if task.output_shape != output_shape:
        if _only_open_sides_differ(task.output_shape, output_shape):
            # For example the length of texts, which may be open in one network and fixed in another.
            fitted = copy.copy(task)
            fitted.output_shape = output_shape
            return fitted
        raise ValueError(
            f"`task` {task!r} does not fit outputs of shape {output_shape}. Give the class, "
            f"{type(task).__name__}, to create a task for them."
        )
    return task


def _only_open_sides_differ(one, other):
    return len(one) == len(other) and all(a == b or None in (a, b) for a, b in zip(one, other, strict=True))


def output_shape_of(model: keras.Model) -> tuple[int, ...]:
    """The shape of a model's only output, without the batch.

    Raises:
        ValueError: if it has several outputs.
    """
    shape = model.output_shape
    if isinstance(shape, dict) or (shape and isinstance(shape[0], (tuple, list))):
        several = list(shape) if isinstance(shape, dict) else model.output_names
        raise ValueError(
            f"`teacher` must have one output. Received: {model.name!r} with {len(several)}: {several}. "
            "Choose one: tfkd.load_teacher(teacher, output=...)."
        )
    return tuple(shape[1:])
