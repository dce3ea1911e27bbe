"""What a teacher answers to synthetic inputs, and whether that looks right."""

import keras
import numpy as np

from tfkd.tasks import Task, task_of
from tfkd.tasks._classification import barely_chance
from tfkd.teachers._inputs import probes, takes_images

__all__ = ["barely_chance", "diagnose"]


def diagnose(teacher: keras.Model, task: Task | None = None) -> str | None:
    """Why a teacher looks untrained or wrongly scaled, judged on synthetic images.

    Args:
        teacher: a model from inputs in [0, 1] to logits or numbers.
        task: its task; None for `tfkd.tasks.task_of(teacher)`.

    Returns:
        A sentence that names the remedy; None if nothing looks wrong, or the teacher does not take images.
    """
    if not takes_images(tuple(teacher.input_shape[1:])):
        return None
    remedy = "check `input_range`, `mean` and `std` (--input_range, --input_mean, --input_std)"
    outputs = np.asarray(keras.ops.cast(teacher(probes(teacher), training=False), "float32"))
    if not np.isfinite(outputs).all():
        return f"its outputs are not finite; check its weights, and {remedy}."
    problem = (task or task_of(teacher)).diagnose(outputs)
    return problem and f"on synthetic images it {problem}; {remedy}."
