"""The pictures of a report that depend on the task: what the teacher sees, and where the student agrees."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfkd.export import _pictures as pictures
from tfkd.tasks import Classification, ClassTask, MultiLabel, Regression, Segmentation, Task


class Picture(NamedTuple):
    """A picture of a report.

    Args:
        title: what it shows, in a word or two.
        png: its bytes.
        caption: one sentence, to which "Synthesized inputs." or the like is added.
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
    """The pictures that go with a task.

    Args:
        task: what the answers mean.
        synthetic: the teacher's answers to held-out synthesized inputs.
        teacher: its answers to the inputs that both networks were compared on.
        student: the student's answers to the same.
        compared_on: what these inputs are.
        names: of the classes; None for their numbers.

    Returns:
        What the teacher sees in synthesized inputs, of tasks with classes, and how both compare.
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
    """How the student's answers compare with the teacher's; one picture a kind of task."""
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
