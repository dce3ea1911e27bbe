"""Checks of a teacher's outputs for synthetic inputs."""

import keras
import numpy as np

from tfkd._core.asking import answers
from tfkd._core.layouts import filled_shape, probes
from tfkd._core.named_inputs import takes_texts
from tfkd.tasks import Task, task_of


def diagnose(teacher: keras.Model, task: Task | None = None) -> str | None:
    """Why a teacher looks untrained or wrongly scaled on synthetic inputs.

    Args:
        teacher: a model from inputs, images in [0, 1], to logits or numbers.
        task: its task; None for `tfkd.tasks.task_of(teacher)`.

    Returns:
        A sentence that names the remedy; None if nothing looks wrong, and always for inputs other than
        images, since their scale is unknown.

    Raises:
        ValueError: if outputs are not finite, so that nothing can be learned from them.
    """
    remedy = "check `input_range`, `mean` and `std`"
    outputs = answers(teacher, probes(teacher)).astype("float32")
    if not np.isfinite(outputs).all():
        raise ValueError(
            f"Teacher {teacher.name!r}: its outputs for synthetic inputs are NaN or infinite, so nothing "
            f"can be learned from it; check its weights, or {remedy}."
        )
    if takes_texts(teacher) or len(filled_shape(teacher)) != 3:
        return None
    problem = (task or task_of(teacher)).diagnose(outputs)
    return problem and f"on synthetic images it {problem}; {remedy}."
