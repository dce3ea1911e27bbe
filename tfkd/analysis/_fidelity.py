"""Fidelity: how closely a student matches its teacher."""

from typing import Any, NamedTuple

import keras
import numpy as np

from tfkd._core.asking import answers
from tfkd.tasks import ClassTask, Task, task_of


class Fidelity(NamedTuple):
    """How closely a student matches its teacher, as means over examples.

    Args:
        agreement: how much the predictions agree, from 0 to 1; top-1 agreement for classes.
        divergence: how far the student's predictions are from the teacher's, at least 0; for classes
            KL(teacher || student) in nats.
        jensen_shannon: the Jensen-Shannon divergence of the predicted probabilities in nats, from 0 to
            ln 2, averaged over independent labels; None for a task without probabilities.
    """

    agreement: float
    divergence: float
    jensen_shannon: float | None


def agreement(teacher: keras.Model, student: keras.Model, inputs: Any, task: Task | None = None) -> float:
    """How often two networks make the same prediction.

    Args:
        teacher: a network that returns logits or numbers, such as one from `tfkd.load_teacher`.
        student: another network with the same outputs.
        inputs: an array `(n, ...)`, or several in the structure of the models' inputs.
        task: the task; None for the teacher's own, `tfkd.tasks.task_of(teacher)`.

    Returns:
        The mean of the task's agreement, from 0 to 1.

    Raises:
        ValueError: if the outputs differ in shape.

    Example:
        >>> tfkd.analysis.agreement(teacher, student, x_test)
        0.957
    """
    return fidelity(teacher, student, inputs, task).agreement


def fidelity(teacher: keras.Model, student: keras.Model, inputs: Any, task: Task | None = None) -> Fidelity:
    """How closely a student matches its teacher, in predicted class and in distribution.

    Args:
        teacher: a network that returns logits or numbers, such as one from `tfkd.load_teacher`.
        student: another network with the same outputs.
        inputs: an array `(n, ...)`, or several in the structure of the models' inputs.
        task: the task; None for the teacher's own, `tfkd.tasks.task_of(teacher)`.

    Returns:
        A `Fidelity`, a named tuple of means over the examples.

    Raises:
        ValueError: if the outputs differ in shape.

    Example:
        >>> tfkd.analysis.fidelity(teacher, student, x_test)
        Fidelity(agreement=0.957, divergence=0.084, jensen_shannon=0.017)

    Reference:
        Stanton et al., "Does Knowledge Distillation Really Work?", 2021, for agreement and predictive KL;
        the Jensen-Shannon divergence, which is symmetric and bounded, is an addition.
    """
    task = task or task_of(teacher)
    theirs, ours = (answers(model, inputs) for model in (teacher, student))
    if theirs.shape != ours.shape:
        raise ValueError(
            "`student` must have the teacher's output shape. Received: teacher "
            f"{theirs.shape[1:]}, student {ours.shape[1:]}."
        )
    return Fidelity(
        _mean(task.agreement(theirs, ours)),
        _mean(task.divergence(theirs, ours)),
        _jensen_shannon(task, theirs, ours) if isinstance(task, ClassTask) else None,
    )


def _jensen_shannon(task, theirs, ours):
    logs = [np.asarray(task.log_outcomes(outputs), "float64") for outputs in (theirs, ours)]
    log_mixture = np.logaddexp(*logs) - np.log(2)
    return float(np.mean([np.sum(np.exp(log) * (log - log_mixture), axis=-1) for log in logs]))


def _mean(values) -> float:
    return float(np.mean(np.asarray(values, "float64")))
