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
# Limit, in bytes, of the decoded examples that a scheme keeps for shuffling.
_BYTES, _MOST_SHUFFLED = 2**29, 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Assistants(Scheme):
    """Teacher assistants (TAKD): networks of intermediate size between teacher and student.

    Args:
        sizes: sizes of the assistants, from large to small, in the notation for students.
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
    """Born-again networks (BAN): each generation is taught by the previous one; the last is the result.

    If no student is given, they have the teacher's architecture; without a teacher the first one learns
    from labels.

    Args:
        generations: number of generations taught by a teacher.
        tolerance: weight of `tfkd.losses.ScoreDifference` if the first teacher is trained here.
        k: how many of the highest probabilities that loss compares.
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
    """Noisy Student: students learn under noise from labels and from the previous student's pseudo-labels.

    Args:
        iterations: number of students.
        hard: whether pseudo-labels are the most likely class instead of probabilities.
        least: minimum confidence of a pseudo-label.
        per_class: number of pseudo-labelled examples that each class is balanced to; None for no balancing.
        unlabelled_ratio: number of pseudo-labelled examples per labelled one in a batch.
        augment: whether inputs, which must then be images, are augmented by RandAugment.
        dropout: dropout rate before the student's last layer.
        depth: stochastic depth rate of the last residual block.
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
                "`scheme` 'noisy_student' labels inputs with classes, but the network has the task "
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
        # The number of labelled examples per epoch if all pseudo-labels are used.
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
