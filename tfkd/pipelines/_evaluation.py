"""Accuracy of networks, and their agreement, according to their task."""

import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfkd._core.asking import answers
from tfkd.export._figures import score_name, score_text
from tfkd.pipelines._examples import Examples, load_examples
from tfkd.tasks import Task, task_of


def predict(model: keras.Model, x: Any) -> np.ndarray:
    """The model's outputs for an array, or arrays by name."""
    return answers(model, x)


def agreement(task: Task, teacher_outputs: np.ndarray, student_outputs: np.ndarray) -> float:
    """Mean agreement of two networks' outputs, in [0, 1]."""
    each = task.agreement(teacher_outputs, student_outputs)
    return float(np.mean(np.asarray(each, "float64")))


def scores(task: Task, outputs: np.ndarray, data: Examples | None) -> dict[str, Any]:
    """Figures of outputs for real examples: all the task's as "scores", and the "accuracy"."""
    figures = {} if data is None else task.score(outputs, data[1])
    return {"accuracy": figures.get("accuracy"), "scores": figures}


def evaluation_examples(
    source: str | os.PathLike | tuple | None, model: keras.Model, role: str, say: Callable[[str], None]
) -> Examples | None:
    """Real examples for evaluation; first reports a network's accuracy on them.

    Args:
        source: as for `load_examples`; None for none.
        model: a trained network.
        role: name of the network in messages.
        say: prints a line, or does nothing.

    Returns:
        The examples, or None.

    Raises:
        ValueError: if the network is no better than chance.
    """
    if source is None:
        return None
    examples = load_examples(source, model)
    check_better_than_chance(model, examples, role, say)
    return examples


def check_better_than_chance(
    model: keras.Model,
    examples: Examples,
    role: str,
    say: Callable[[str], None],
    argument: str = "evaluation_data",
) -> None:
    """Reports a network's accuracy on real examples.

    Args:
        model: a trained network.
        examples: the examples to measure on.
        role: name of the network in messages.
        say: prints a line, or does nothing.
        argument: name of the argument with the examples.

    Raises:
        ValueError: if it is no better than chance.
    """
    x, y = examples
    task, outputs = task_of(model), predict(model, x)
    right = scores(task, outputs, examples)
    figure = f"{score_name(right)} on {len(y):,} real examples: {score_text(right)}"
    say(f"{role} {figure}")
    if task.is_chance(outputs, y):
        raise ValueError(
            f"`{role}`: its {figure}, no better than chance. Check `input_range`, `mean` and `std` of "
            f"tfkd.load_teacher, and that the labels of `{argument}` are those of the {role}."
        )
