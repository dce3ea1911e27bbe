"""Which task a network has: as it was said, or as its ending shows."""

import inspect

import keras

from tfkd import tasks
from tfkd._core import names
from tfkd.tasks._classification import Classification
from tfkd.tasks._task import Task

_ATTRIBUTE = "tfkd_task"


def known_tasks() -> dict[str, type[Task]]:
    """The tasks by the names that `load_teacher(task=)` and `--task` take."""
    return names.members(tasks, Task, lambda task: not inspect.isabstract(task))


def task_of(model: keras.Model) -> Task:
    """The task of a network that returns logits or numbers.

    Args:
        model: a network, best one from `tfkd.load_teacher`, which knows the ending that it took off.

    Returns:
        The task that the model was marked with; else `Classification`.

    Raises:
        ValueError: if the model has several outputs, or its output does not fit its task.

    Example:
        >>> tfkd.tasks.task_of(tfkd.load_teacher("teacher.keras"))
        Classification((10,))
    """
    known = getattr(model, _ATTRIBUTE, None)
    return Classification(output_shape_of(model)) if known is None else known


def mark(model: keras.Model, task: Task) -> keras.Model:
    """Has `task_of` return this task for the model; returns the model."""
    setattr(model, _ATTRIBUTE, task)
    return model


def as_task(task: str | type[Task] | Task, output_shape: tuple[int, ...]) -> Task:
    """A task given by name, class or object, for outputs of this shape.

    Raises:
        TypeError: if it is neither.
        ValueError: for an unknown name, with close matches, or an output that does not fit.
    """
    if isinstance(task, Task):
        return type(task)(output_shape) if task.output_shape != tuple(output_shape) else task
    if isinstance(task, str):
        task = names.lookup(known_tasks(), task, "task")
    if not (inspect.isclass(task) and issubclass(task, Task)):
        raise TypeError(
            f"`task` must be a name ({', '.join(known_tasks())}), a tfkd.tasks.Task or its class. "
            f"Received: {task!r} of type {type(task)}."
        )
    return task(output_shape)


def output_shape_of(model: keras.Model) -> tuple[int, ...]:
    """The shape of a model's one output, without the batch.

    Raises:
        ValueError: if it has several outputs.
    """
    shape = model.output_shape
    if isinstance(shape, dict) or (shape and isinstance(shape[0], (tuple, list))):
        several = list(shape) if isinstance(shape, dict) else model.output_names
        raise ValueError(
            f"`teacher` must have one output. Received: {model.name!r} with {len(several)}: {several}. Say "
            "which: tfkd.load_teacher(teacher, output=...)."
        )
    return tuple(shape[1:])
