"""Schemes in which networks are trained one after another."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import keras

from tfkd import schemes, students
from tfkd._core.options import AtLeast, Between, Share
from tfkd.pipelines._course import Course, Taught
from tfkd.pipelines._scheme import Scheme
from tfkd.tasks import ClassTask

_TEMPERATURE = 4.0
# Decoded examples that a scheme holds to shuffle take no more than this.
_BYTES, _MOST_SHUFFLED = 2**29, 10_000


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


def _chained(chain: schemes.Chain, course: Course) -> Taught:
    history = chain.fit(epochs=course.epochs, optimizer=course.fresh_optimizer(), **course.for_fit())
    teacher = chain.students[0] if chain.teacher is None else chain.teacher
    return Taught(
        student=chain.student, history=history, teacher=teacher, networks=_by_number(chain.students)
    )


def _by_number(networks: Sequence[keras.Model]) -> dict[str, keras.Model]:
    return {f"{number}_{network.name}": network for number, network in enumerate(networks, 1)}


def _affordable(course):
    x, _ = course.data.judging
    return int(max(1, min(_MOST_SHUFFLED, _BYTES // max(1, x[0].nbytes))))
