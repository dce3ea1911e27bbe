"""Schemes in which one model trains all there is to train."""

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
    """A teacher teaches a student."""

    under_strategies = True

    def run(self, course: Course) -> Taught:
        return _taught_by(course.teacher, course)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnsembleScheme(Scheme):
    """Several teachers answer as one.

    Args:
        of: what is averaged, "logits" or "probabilities".
        weights: one for each teacher; None for equal ones.
    """

    teachers = (2, None)
    of: Annotated[str, OneOf("logits", "probabilities")] = "logits"
    weights: tuple[float, ...] | None = None

    def run(self, course: Course) -> Taught:
        return _taught_by(schemes.EnsembleTeacher(course.teachers, self.weights, self.of), course)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarlyStopped(Scheme):
    """Distillation that stops early (ESKD): from then on the student learns from labels alone.

    Args:
        stop_epoch: after how many epochs; None to wait for `patience`.
        patience: after how many epochs in which the validation loss has not improved.
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
                f"goes on to the end. Received: stop_epoch={stop}."
            )
        switch = StudentLossWeightSchedule(lambda epoch: share if epoch < stop else 1.0)
        return _taught_by(course.teacher, course, [switch])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutual(Scheme):
    """Students teach each other (DML); the result is the one that is best on what was held out.

    Args:
        together: whether all are updated on what they answered at the beginning of a step.
    """

    teachers = (0, 1)
    students = (2, None)
    no_effect = {"student_loss_weight": "students that teach each other have both losses in full"}
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
    """A stage's scheme: the students, whoever of them is the stage's."""

    def __init__(self, networks, loss_weights, together):
        self.networks, self.loss_weights, self.together = networks, loss_weights, together

    def __call__(self, teacher, student, losses, loss_weights, student_loss_weight):
        return schemes.MutualDistiller(self.networks, losses, self.loss_weights, self.together)

    def __repr__(self):
        return f"mutual(students={len(self.networks)}, together={self.together})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SelfTaught(Scheme):
    """A network with exits at inner layers, of which the deep ones teach the shallow ones.

    Args:
        exits: paths of the layers to attach exits to; needed.
        method: "byot", "ensemble", "imta" or "multi_exit".
        gradient_equilibrium: as of `tfkd.schemes.SelfDistiller`.
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
    """A stage's scheme; the share of the labels' loss is the method's unless it was asked for."""

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
