"""The report of a data-free run, as one self-contained HTML file."""

import os
from collections.abc import Sequence

import numpy as np

from tfkd.export import _pictures as pictures
from tfkd.export._example_texts import ExampleText
from tfkd.export._page import write_page
from tfkd.export._task_pictures import pictures_of
from tfkd.export._trust import trust
from tfkd.tasks import Classification, Task

_TEMPLATE = "report.html.j2"
_HEALTH_GROUPS = {
    "agreement with the teacher": ("health_agreement", "health_agreement_synthetic"),
    "the teacher's predictions": ("health_class_entropy", "health_confidence"),
    "the images": ("health_diversity", "health_duplicates"),
}


def write_report(
    path: str | os.PathLike,
    metrics: dict,
    history: Sequence[dict],
    grid: bytes | None,
    synthetic: np.ndarray,
    teacher: np.ndarray,
    student: np.ndarray,
    task: Task | None = None,
    texts: Sequence[ExampleText] = (),
) -> None:
    """Writes a self-contained HTML report of a data-free run.

    Its pictures and sentences depend on the task: class frequencies and a confusion matrix for classes,
    agreement per label for independent labels, and a scatter plot for numbers.

    Args:
        path: the file to write.
        metrics: the contents of `metrics.json`. "teacher", "student" and "tflite" may have "scores", the
            task's figures on real data; otherwise "accuracy" is used.
        history: one row of logs for each epoch.
        grid: a PNG of synthesized inputs with the teacher's predictions; None for none.
        synthetic: the teacher's outputs for held-out synthesized inputs, `(n, ...)`.
        teacher: the teacher's outputs for the inputs on which both networks were compared.
        student: the student's outputs for the same inputs.
        task: the task; None if all three arrays are class indices `(n,)` below `metrics["classes"]`.
        texts: synthesized texts with the teacher's predictions, from `example_texts`.

    Raises:
        ImportError: if jinja2 or matplotlib is missing.
        OSError: if the file cannot be written.
    """
    pictures.require_report()
    synthetic, teacher, student = (np.asarray(each) for each in (synthetic, teacher, student))
    if task is None:
        task = Classification((metrics["classes"],))
        one_hot = np.eye(task.classes, dtype="float32")
        synthetic, teacher, student = one_hot[synthetic], one_hot[teacher], one_hot[student]
    write_page(
        path,
        _TEMPLATE,
        metrics=metrics,
        trust=trust(metrics, task),
        has_classes=task.has_classes,
        grid=grid,
        texts=texts,
        of_task=pictures_of(
            task, synthetic, teacher, student, metrics["agreement_on"], metrics["class_names"]
        ),
        curves=pictures.panels(history, _curve_groups(history)),
        health=pictures.panels(history, _groups_with_values(_HEALTH_GROUPS, history)),
    )


def _curve_groups(history):
    names = [name for name in dict.fromkeys(n for row in history for n in row)]
    rates = [n for n in names if n == "agreement" or n.endswith(("accuracy", "error", "r2"))]
    generator = [n for n in names if n.startswith("generator_")]
    groups = {"loss": [n for n in names if n.endswith("loss")], "agreement and scores": rates}
    return {**groups, "generator": generator} if generator else groups


def _groups_with_values(groups, history):
    """The groups for which a run has any values: not every task has classes, or comparable inputs."""
    known = {name for row in history for name in row}
    kept = {title: names for title, names in groups.items() if known & set(names)}
    return kept or groups
