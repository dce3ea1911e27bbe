"""The task of a teacher, and the warning if it was assumed."""

from tfkd.tasks import Task
from tfkd.tasks._endings import SIGNS
from tfkd.tasks._finding import assumed_task, task_class
from tfkd.tasks._reading import check_ending, for_network

_BINARY = (
    "ends in one sigmoid unit and is treated as a classifier with two classes, with logits (0, z). Pass "
    "task='classification' (--task) to confirm that, or task='multi_label' to keep its single output."
)
_LABELS = (
    "ends in {} sigmoid units and is treated as {} independent labels, task 'multi_label'. If exactly one "
    "of them is right, pass task='classification' (--task)."
)
_NUMBER = (
    "has one output that is not a sigmoid and is treated as a number, task 'regression'. Pass that to "
    "confirm it, or task='classification' (--task) if it is the logit of a binary classifier."
)
_SIGN = (
    "has one output between -1 and 1, from a {}, and is treated as a number, task 'regression'. Pass that "
    "to confirm it, or task='classification' (--task) for a binary classifier of -1 and 1."
)
_OTHER = (
    "ends in a {}, which is unusual for classifiers, and is treated as a classifier whose {} outputs are "
    "logits. Pass task='classification' (--task) to confirm that, or task='regression' if they are numbers."
)
_LABELS_OF_SIGN = " For labels of -1 and 1, pass task='multi_label'."


def decide(
    task: str | type[Task] | Task | None,
    activation: str | None,
    output_shape: tuple[int, ...],
    from_logits: bool | None,
    name: str,
    other: str | None = None,
) -> tuple[Task, str | None]:
    """The task of a teacher.

    Args:
        task: the task given by the user; None to infer it from the last layer.
        activation: the activation of the teacher's outputs.
        output_shape: the shape of one output.
        from_logits: the value given by the user; if any is given, a single output belongs to a class.
        name: name of the teacher.
        other: the name of its final activation if it is of another kind.

    Returns:
        The task, and a sentence about the teacher if the user should know that it was assumed.

    Raises:
        TypeError: if `task` is not a task.
        ValueError: if the task does not fit the teacher.
    """
    if task is not None:
        task = for_network(task, output_shape)
        check_ending(task, activation, name)
        return task, None
    one = tuple(output_shape) == (1,)
    if one and from_logits is not None:
        return for_network("classification", output_shape), None
    task = for_network(assumed_task(activation, output_shape), output_shape)
    if activation == "sigmoid":
        return task, _BINARY if one else _LABELS.format(output_shape[0], output_shape[0])
    if one:
        return task, _SIGN.format(other) if other in SIGNS else _NUMBER
    if other is None or from_logits is not None:
        return task, None
    return task, _OTHER.format(other, output_shape[0]) + (_LABELS_OF_SIGN if other in SIGNS else "")


def check_from_logits(from_logits: bool | None, task: str | type[Task] | Task | None) -> None:
    """Raises ValueError if `from_logits` is given for a task without logits."""
    if from_logits is not None and task is not None and not task_class(task).activations:
        raise ValueError(
            f"`from_logits` has no effect on task {task!r}, whose outputs are plain numbers. Received: "
            f"from_logits={from_logits!r}. Leave it out."
        )


def usual_activation(task: str | type[Task] | Task | None, output_shape: tuple[int, ...]) -> str | None:
    """The assumed activation of outputs that are not logits."""
    if task is not None and not task_class(task).activations:
        return None
    if tuple(output_shape)[-1:] == (1,):
        return "sigmoid"
    return "softmax" if task is None else task_class(task).activations[0]
