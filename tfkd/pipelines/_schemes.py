"""The schemes of distillation with data: each is wiring to `tfkd.schemes`, with options of its own.

A scheme of your own is a class here and a line in `SCHEMES`.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import keras

from tfkd import schemes, students
from tfkd._core import names
from tfkd.callbacks import StopDistilling, StudentLossWeightSchedule
from tfkd.datafree._options import AtLeast, Between, OneOf, Options, Share
from tfkd.pipelines._course import Course, Taught
from tfkd.pipelines._typed_options import typed_options
from tfkd.tasks import ClassTask

_TEMPERATURE = 4.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scheme(Options):
    """How networks are trained; a subclass is a scheme, and its fields are options.

    Attributes:
        teachers: how many teachers it needs, and takes at most; None for any number.
        students: likewise for the students that are asked for.
        default_student: the student where none is asked for; None if the scheme makes its own.
        needs_unlabelled: whether it needs inputs without labels; else it takes none.
        no_effect: arguments of the pipeline that mean nothing here, and why.
    """

    teachers: ClassVar[tuple[int, int | None]] = (1, 1)
    students: ClassVar[tuple[int, int | None]] = (0, 1)
    default_student: ClassVar[str | None] = "0.5x"
    needs_unlabelled: ClassVar[bool] = False
    no_effect: ClassVar[Mapping[str, str]] = {}

    def run(self, course: Course) -> Taught:
        """Trains what there is to train."""
        raise NotImplementedError(f"{type(self).__name__} must implement run(course).")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Distil(Scheme):
    """A teacher teaches a student."""

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assistants(Scheme):
    """Teacher assistants (TAKD): networks of sizes in between hand the teacher's knowledge down.

    Args:
        sizes: of the assistants, from large to small, as students are named.
    """

    sizes: tuple[str, ...] = ("0.75x",)

    def run(self, course: Course) -> Taught:
        assert course.teacher is not None
        chain = schemes.assistants(
            course.teacher,
            course.student(),
            self.sizes,
            course.losses_or_soft(_TEMPERATURE),
            course.loss_weights,
            course.student_loss_weight,
            seed=course.seed,
        )
        return _chained(chain, course)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Generations(Scheme):
    """Born-again networks (BAN): each generation is taught by the one before, the last is the result.

    Without a student they have the teacher's layers; without a teacher the first one learns from labels.

    Args:
        generations: how many are taught by a teacher.
        tolerance: weight of `tfkd.losses.ScoreDifference` where the first teacher is trained here.
        k: how many of the highest probabilities that loss looks at.
    """

    teachers = (0, 1)
    default_student = None
    generations: Annotated[int, AtLeast(1)] = 3
    tolerance: Annotated[float, AtLeast(0)] = 0.0
    k: Annotated[int, AtLeast(2)] = 3

    def idle(self):
        if not self.tolerance:
            yield "k", "`tolerance` is 0"

    def run(self, course: Course) -> Taught:
        chain = schemes.generations(
            course.teacher,
            course.student if course.make_students else None,
            self.generations,
            course.losses_or_soft(1.0),
            course.loss_weights,
            course.student_loss_weight,
            tolerance=self.tolerance,
            k=self.k,
            seed=course.seed,
        )
        return _chained(chain, course)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noisy(Scheme):
    """Noisy Student: students learn under noise from labels and from pseudo-labels of the one before.

    Args:
        iterations: how many students.
        hard: whether pseudo-labels are the likeliest class, else probabilities.
        least: the lowest confidence of a pseudo-label that is taken.
        per_class: how many pseudo-labelled examples each class is brought to; None for those there are.
        unlabelled_ratio: pseudo-labelled examples in a batch for each labelled one.
        augment: whether inputs, which have to be images then, are changed by RandAugment.
        dropout: rate before the student's last layer.
        depth: rate of stochastic depth of the last residual block.
    """

    teachers = (0, 1)
    needs_unlabelled = True
    iterations: Annotated[int, AtLeast(1)] = 3
    hard: bool = False
    least: Annotated[float, Between(0, 1)] = 0.3
    per_class: Annotated[int | None, AtLeast(1)] = None
    unlabelled_ratio: Annotated[int, AtLeast(1)] = 1
    augment: bool = True
    dropout: Annotated[float, Share()] = 0.5
    depth: Annotated[float, Share()] = 0.2

    def run(self, course: Course) -> Taught:
        data, size = course.data, course.batch_size
        assert data.unlabelled is not None
        if not isinstance(course.task, ClassTask):
            raise ValueError(
                "`scheme` 'noisy_student' labels inputs with classes, and the network is of the task "
                f"{course.task.name!r}. Use another scheme."
            )
        scheme = schemes.NoisyStudent(
            course.teacher,
            lambda iteration: students.with_noise(
                course.student(), self.dropout, self.depth, course.seed + iteration
            ),
            course.losses,
            course.loss_weights,
            course.student_loss_weight,
            hard=self.hard,
            least=self.least,
            per_class=self.per_class,
            iterations=self.iterations,
            unlabelled_ratio=self.unlabelled_ratio,
            augment="randaugment" if self.augment else None,
            shuffle_buffer=_affordable(course),
            seed=course.seed,
            task=course.task,
        )
        # If all pseudo-labels are taken, an epoch shows so many labelled examples.
        longest = max(data.training.count, -(-data.unlabelled.count // self.unlabelled_ratio))
        history = scheme.fit(
            data.training.batches(size),
            data.unlabelled.batches(size),
            epochs=course.epochs,
            optimizer=course.fresh_optimizer(course.steps(longest)),
            metrics=["accuracy"],
            validation_data=data.validation.batches(size),
            callbacks=course.callbacks,
            backup_dir=course.backup_dir,
            batch_size=size,
            jit_compile=course.jit_compile,
            verbose=0,
        )
        plain = [students.without_noise(each) for each in scheme.students]
        return Taught(
            student=plain[-1], history=history, teacher=scheme.teacher, networks=_by_number(plain)
        )


SCHEMES: dict[str, type[Scheme]] = {
    "distil": Distil,
    "mutual": Mutual,
    "self": SelfTaught,
    "ensemble": EnsembleScheme,
    "assistants": Assistants,
    "generations": Generations,
    "eskd": EarlyStopped,
    "noisy_student": Noisy,
}


def scheme_named(name: str, options: Sequence[str] | Mapping[str, Any] | None = None) -> Scheme:
    """A scheme by its name.

    Args:
        name: one of `SCHEMES`.
        options: by name; or `key=value` strings, lists separated by commas. None for none.

    Raises:
        ValueError: for an unknown name or option, with close matches, or a value out of range.
    """
    cls = names.lookup(SCHEMES, name, "scheme")
    if options is None or isinstance(options, Mapping):
        return cls(**(options or {}))
    return cls(**typed_options(cls.options(), options, f"scheme {name!r}", "scheme_options"))


def options_in_words() -> str:
    """Which options each scheme has."""
    known = {name: ", ".join(cls.options()) for name, cls in SCHEMES.items() if cls.options()}
    return "; ".join(f"{name}: {options}" for name, options in known.items())


def _taught_by(teacher, course, callbacks=()):
    student = course.student()
    _, history = course.fit(teacher, student, course.losses_or_soft(_TEMPERATURE), callbacks=callbacks)
    return Taught(student=student, history=history, teacher=teacher)


def _chained(chain: schemes.Chain, course: Course) -> Taught:
    history = chain.fit(epochs=course.epochs, optimizer=course.fresh_optimizer(), **course.for_fit())
    teacher = chain.students[0] if chain.teacher is None else chain.teacher
    return Taught(
        student=chain.student, history=history, teacher=teacher, networks=_by_number(chain.students)
    )


def _by_number(networks: Sequence[keras.Model]) -> dict[str, keras.Model]:
    return {f"{number}_{network.name}": network for number, network in enumerate(networks, 1)}


# Decoded examples that a scheme holds to shuffle take no more than this.
_BYTES, _MOST_SHUFFLED = 2**29, 10_000


def _affordable(course):
    x, _ = course.data.judging
    return int(max(1, min(_MOST_SHUFFLED, _BYTES // max(1, x[0].nbytes))))
