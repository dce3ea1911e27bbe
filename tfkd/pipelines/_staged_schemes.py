"""Schemes in which a single `fit` trains everything."""

import dataclasses
from typing import Annotated

from tfkd import schemes
from tfkd._core import names
from tfkd._core.options import AtLeast, OneOf
from tfkd.callbacks import StopDistilling, StudentLossWeightSchedule
from tfkd.pipelines._course import Course, Taught
from tfkd.pipelines._scheme import Scheme

_TEMPERATURE = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distil(Scheme):
    """One teacher and one student."""

    under_strategies = True

    def run(self, course: Course) -> Taught:
        return _taught_by(course.teacher, course)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnsembleScheme(Scheme):
    """Several teachers combined into one.

    Args:
        of: the outputs to average, "logits" or "probabilities".
        weights: one for each teacher; None for equal ones.
    """

    teachers = (2, None)
    of: Annotated[str, OneOf("logits", "probabilities")] = "logits"
    weights: tuple[float, ...] | None = None

    def run(self, course: Course) -> Taught:
        return _taught_by(schemes.EnsembleTeacher(course.teachers, self.weights, self.of), course)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlyStopped(Scheme):
    """Distillation that stops early (ESKD); then the student learns from labels alone.

    Args:
        stop_epoch: number of epochs of distillation; None to use `patience`.
        patience: number of epochs without improvement of the validation loss.
    """

    under_strategies = True
    stop_epoch: Annotated[int | None, AtLeast(1)] = None
    patience: Annotated[int, AtLeast(1)] = 3

    def idle(self):
        if self.stop_epoch is not None:
            yield "patience", "`stop_epoch` says when"

    def run(self, course: Course) -> Taught:
        share = 0.5 if course.student_loss_weight is None else course.student_loss_weight
        stop = self.stop_epoch
        if stop is None:
            return _taught_by(course.teacher, course, [StopDistilling("val_loss", self.patience)])
        if stop >= course.epochs:
            raise ValueError(
                f"`scheme_options`: stop_epoch must be below the {course.epochs} `epochs`, or distillation "
                f"continues to the end. Received: stop_epoch={stop}."
            )
        switch = StudentLossWeightSchedule(lambda epoch: share if epoch < stop else 1.0)
        return _taught_by(course.teacher, course, [switch])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutual(Scheme):
    """Students teach each other (DML); the result is the best one on held-out data.

    Args:
        together: whether all students are updated from the outputs at the beginning of a step.
    """

    teachers = (0, 1)
    students = (2, None)
    no_effect = {"student_loss_weight": "students that teach each other use both losses in full"}
    together: bool = True

    def run(self, course: Course) -> Taught:
        networks = [make() for make in course.make_students]
        scheme = _MutualDistillers(networks, course.loss_weights, self.together)
        _, history = course.fit(None, networks[0], course.losses_or_soft(1.0), scheme)
        called = names.numbered([network.name for network in networks])
        return Taught(
            student=networks[course.best(networks)],
            history=history,
            teacher=course.teacher,
            networks=dict(zip(called, networks, strict=True)),
        )


class _MutualDistillers:
    """A stage's scheme: all students, whichever one the stage has."""

    def __init__(self, networks, loss_weights, together):
        self.networks, self.loss_weights, self.together = networks, loss_weights, together

    def __call__(self, teacher, student, losses, loss_weights, student_loss_weight):
        return schemes.MutualDistiller(self.networks, losses, self.loss_weights, self.together)

    def __repr__(self):
        return f"mutual(students={len(self.networks)}, together={self.together})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfTaught(Scheme):
    """A network with exits at inner layers; deep exits teach shallow ones.

    Args:
        exits: paths of the layers to attach exits to; required.
        method: "byot", "ensemble", "imta" or "multi_exit".
        gradient_equilibrium: as for `tfkd.schemes.SelfDistiller`.
    """

    teachers = (0, 1)
    exits: tuple[str, ...] = ()
    method: Annotated[str, OneOf("byot", "ensemble", "imta", "multi_exit")] = "byot"
    gradient_equilibrium: bool = False

    def check(self) -> None:
        if not self.exits:
            raise ValueError(
                "`scheme_options`: scheme 'self' needs exits, paths of the layers to attach exits to. Give "
                "exits=conv1 or exits=block1,block2."
            )

    def run(self, course: Course) -> Taught:
        scheme = _SelfDistillers(self, course.student_loss_weight)
        distiller, history = course.fit(None, course.student(), course.losses_within(), scheme)
        return Taught(
            student=distiller.student,
            history=history,
            teacher=course.teacher,
            networks={"with_exits": distiller.network},
        )


@dataclasses.dataclass(frozen=True)
class _SelfDistillers:
    """A stage's scheme; the labels' loss has the method's weight unless one was requested."""

    options: SelfTaught
    share: float | None

    def __call__(self, teacher, student, losses, loss_weights, student_loss_weight):
        options = self.options
        return schemes.SelfDistiller(
            student,
            options.exits,
            options.method,
            losses,
            loss_weights,
            self.share,
            gradient_equilibrium=options.gradient_equilibrium,
        )


def _taught_by(teacher, course, callbacks=()):
    student = course.student()
    _, history = course.fit(teacher, student, course.losses_or_soft(_TEMPERATURE), callbacks=callbacks)
    return Taught(student=student, history=history, teacher=teacher)
