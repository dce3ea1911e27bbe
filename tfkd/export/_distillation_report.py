"""The report of distillation with data."""

import os
from collections.abc import Sequence

import numpy as np

from tfkd.export import _pictures as pictures
from tfkd.export._example_texts import ExampleText
from tfkd.export._page import write_page
from tfkd.export._task_pictures import compare
from tfkd.tasks import Task

_TEMPLATE = "distillation.html.j2"


def write_distillation_report(
    path: str | os.PathLike,
    metrics: dict,
    history: Sequence[dict],
    grid: bytes | None,
    teacher: np.ndarray | None,
    student: np.ndarray,
    task: Task,
    texts: Sequence[ExampleText] = (),
) -> None:
    """Writes a self-contained HTML report of a run of tfkd-distill.

    Args:
        path: the file to write.
        metrics: the contents of `metrics.json`.
        history: one row of logs for each epoch; values may be NaN.
        grid: a PNG of inputs with the student's predictions; None for none.
        teacher: the teacher's outputs for the inputs on which networks were measured; None without a
            teacher.
        student: the student's outputs for the same inputs.
        task: the task.
        texts: texts with the student's predictions, from `example_texts`.

    Raises:
        ImportError: if jinja2 or matplotlib is missing.
        OSError: if the file cannot be written.
    """
    pictures.require_report()
    write_page(
        path,
        _TEMPLATE,
        metrics=metrics,
        grid=grid,
        texts=texts,
        compared=None if teacher is None else compare(task, teacher, student, metrics["class_names"]),
        curves=pictures.panels(history, _groups(history)),
    )


def _groups(history):
    """Groups of curves to draw together."""
    names = dict.fromkeys(name for row in history for name in row)
    rates = [name for name in names if name.endswith(("accuracy", "auc", "error", "r2"))]
    groups = {
        "loss": [name for name in names if name.endswith("loss")],
        "accuracy": rates,
        "perplexity": [name for name in names if name.endswith("perplexity")],
        "similarity": [name for name in names if name.endswith(("cosine", "rank_correlation"))],
    }
    return {title: names for title, names in groups.items() if names}
