"""The pictures of a report that depend on the task: the teacher's predictions and how both agree."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfkd.export import _pictures as pictures
from tfkd.tasks import Classification, ClassTask, MultiLabel, Regression, Segmentation, Task


class Picture(NamedTuple):
    """A picture of a report.

    Args:
        title: the title, one or two words.
        png: the content of the PNG file.
        caption: one sentence, to which "Synthesized inputs." or similar is added.
    """

    title: str
    png: bytes
    caption: str


def pictures_of(
    task: Task,
    synthetic: np.ndarray,
    teacher: np.ndarray,
    student: np.ndarray,
    compared_on: str,
    names: Sequence[str] | None = None,
) -> list[Picture]:
    """The pictures for a task.

    Args:
        task: the task of the networks.
        synthetic: the teacher's predictions for held-out synthesized inputs.
        teacher: the teacher's predictions for the inputs that both networks were compared on.
        student: the student's predictions for the same inputs.
        compared_on: a description of these inputs.
        names: the names of the classes; None for their numbers.

    Returns:
        A comparison of both networks; before it, for tasks with classes, the teacher's predictions for
        synthesized inputs.
    """
    comparison = compare(task, teacher, student, names)
    comparison = comparison._replace(caption=f"{comparison.caption} on {compared_on}.")
    if not isinstance(task, ClassTask):
        return [comparison]
    even = 1 / task.groups if isinstance(task, Classification) else None
    seen = Picture(
        "class histogram",
        pictures.class_histogram(task.shares(synthetic), even, names),
        f"{len(synthetic):,} held-out synthesized inputs.",
    )
    return [seen, comparison]


@functools.singledispatch
def compare(
    task: Task, teacher: np.ndarray, student: np.ndarray, names: Sequence[str] | None = None
) -> Picture:
    """A comparison of the student's predictions with the teacher's; each kind of task has its picture."""
    agreement = np.asarray(task.agreement(teacher, student))
    return Picture("agreement", pictures.agreement_histogram(agreement), "Agreement of teacher and student")


@compare.register
def _(task: Classification, teacher, student, names=None):
    theirs, ours = (np.asarray(task.group(answers)) for answers in (teacher, student))
    png = pictures.confusion(theirs, ours, task.classes, names)
    return Picture("confusion", png, "Teacher against student")


@compare.register
def _(task: MultiLabel, teacher, student, names=None):
    png = pictures.label_agreement(task.agreement_by_label(teacher, student), names)
    return Picture("agreement by label", png, "Agreement of teacher and student, label by label,")


@compare.register
def _(task: Segmentation, teacher, student, names=None):
    png = pictures.masks(teacher.argmax(-1), student.argmax(-1), task.classes)
    return Picture("masks", png, "Classes of pixels by teacher and student")


@compare.register
def _(task: Regression, teacher, student, names=None):
    return Picture("scatter", pictures.scatter(teacher, student), "Student against teacher")
