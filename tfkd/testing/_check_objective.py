"""The contract of objectives of synthesized images."""

from collections.abc import Collection
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfkd.datafree import _views as views
from tfkd.datafree.objectives import Objective
from tfkd.datafree.objectives._image_objective import ImageObjective
from tfkd.datafree.sources import Lesson
from tfkd.tasks import Task, task_of
from tfkd.testing._contract import check_clauses, expect, expect_close

_BATCH = 8


def check_objective(
    objective: Objective,
    teacher: keras.Model,
    student: keras.Model | None = None,
    task: Task | None = None,
    *,
    leave_out: Collection[str] = (),
) -> None:
    """Checks that an objective fulfils the contract of `tfkd.datafree.objectives`.

    - "applies": it applies to this teacher's images.
    - "value": a finite float32 scalar for random images.
    - "gradient": the gradient with respect to the images is finite, and equals finite differences.
    - "weight": the value is multiplied by `weight`.
    - "parts": a batch in two parts has the same value and gradient as the whole.
    - "compiled": the same in a graph and under XLA.
    - "student": only an objective with `needs_student` uses the student, and it is skipped in warm-up.
    - "networks": neither network is changed.

    Args:
        objective: the objective.
        teacher: a small network that it applies to.
        student: a small network with the same inputs and outputs; None for a copy of the teacher with
            different weights.
        task: the task of the outputs; None for `tfkd.tasks.task_of(teacher)`.
        leave_out: names of clauses that cannot hold for this objective.

    Raises:
        AssertionError: at the first failing clause, with the reason.
        ValueError: if a clause to leave out does not exist.

    Example:
        >>> check_objective(tfkd.datafree.objectives.Entropy(), teacher)
    """
    if student is None:
        student = keras.models.clone_model(teacher)
    images = keras.random.uniform((_BATCH, *teacher.input_shape[1:]), seed=3)
    subject = _Subject(objective, teacher, student, task or task_of(teacher), images)
    check_clauses(repr(objective), subject, _CLAUSES, leave_out)


class _Subject(NamedTuple):
    objective: Objective
    teacher: keras.Model
    student: keras.Model
    task: Task
    images: tf.Tensor

    def made(self, objective=None, **options):
        lesson = Lesson(self.teacher, self.student, self.task, keras.random.SeedGenerator(5))
        keras.utils.set_random_seed(4)
        terms = (objective or self.objective, _Smooth(1.0))
        second = views.ResizedCrop() if views.fit(lesson.input_shape) else None
        return ImageObjective(lesson, terms, _BATCH, second_view=second, **options)

    def targets(self):
        if not self.task.has_classes:
            return None
        return np.arange(_BATCH, dtype="int32") % self.task.classes

    def judged(self, adversarial_weight=1.0, wrap=lambda function: function, objective=None, **options):
        """Value and gradient with respect to the images, with `_Smooth`."""
        made, targets = self.made(objective, **options), self.targets()
        return wrap(lambda: made.value_and_gradients(self.images, targets, adversarial_weight)[:2])()


class _Smooth(Objective):
    """Makes an objective on pixels alone also use the networks; its value and gradient are 0."""

    def value(self, batch):
        return 0.0 * tf.reduce_sum(batch.teacher_logits)


def _applies(subject):
    problem = subject.objective.problem(subject.teacher)
    expect(problem is None, f"it cannot be used with this teacher: {problem}.")
    kept = [type(each) for each in subject.made().objectives]
    expect(type(subject.objective) in kept, "it is dropped for this teacher and task.")


def _value(subject):
    value, gradient = subject.judged()
    expect(value.shape == () and value.dtype == "float32", f"the value is {value!r}, not a float32 scalar.")
    expect(bool(np.isfinite(value)), f"the value is {float(value)}.")
    expect(gradient.shape == subject.images.shape, f"the gradient has the shape {gradient.shape}.")


def _gradient(subject):
    made, targets, step = subject.made(), subject.targets(), 1e-3
    _, gradient = made.value_and_gradients(subject.images, targets)[:2]
    expect(bool(np.isfinite(gradient).all()), "the gradient is not finite.")
    direction = np.sign(gradient) + 0.0
    up, down = (
        subject._replace(images=subject.images + sign * step * direction).judged()[0] for sign in (1, -1)
    )
    expected, received = float(up - down) / (2 * step), float(np.sum(gradient * direction))
    close = np.isclose(received, expected, rtol=0.1, atol=1e-2 * max(1.0, abs(float(up)) / 10))
    expect(
        bool(close),
        f"the gradient along its signs is {received}, but finite differences give {expected}.",
    )


def _weight(subject):
    value, gradient = subject.judged()
    fields = {**vars(subject.objective), "weight": 3.0 * subject.objective.weight}
    tripled = subject.judged(objective=type(subject.objective)(**fields))
    for received, expected in zip(tripled, (value, gradient), strict=True):
        expect_close(
            received, 3.0 * expected, "three times the weight does not give three times the value."
        )


def _parts(subject):
    for received, expected in zip(subject.judged(microbatches=2), subject.judged(), strict=True):
        expect_close(received, expected, "a batch in two parts differs from the whole.", rtol=1e-3)


def _compiled(subject):
    expected = subject.judged()
    for jit_compile in (False, True):
        compiled = subject.judged(wrap=lambda f, jit=jit_compile: tf.function(f, jit_compile=jit))
        for received, eager in zip(compiled, expected, strict=True):
            how = "under XLA" if jit_compile else "in a graph"
            expect_close(received, eager, f"it differs {how}.", rtol=1e-2, atol=1e-4)


def _student(subject):
    value, _ = subject.judged()
    without, _ = subject.judged(adversarial_weight=0.0)
    if subject.objective.needs_student:
        expect_close(without, 0.0, "it is used in warm-up, although it depends on the student.")
    else:
        expect_close(without, value, "it differs in warm-up, although `needs_student` is not set.")


def _networks(subject):
    networks = (subject.teacher, subject.student)
    before = [weight.numpy() for network in networks for weight in network.weights]
    subject.judged()
    after = [weight.numpy() for network in networks for weight in network.weights]
    same = all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    expect(same, "it changes a weight of the networks.")


_CLAUSES = {
    "applies": _applies,
    "value": _value,
    "gradient": _gradient,
    "weight": _weight,
    "parts": _parts,
    "compiled": _compiled,
    "student": _student,
    "networks": _networks,
}
