"""Course: all that a scheme trains students with."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd.losses import KnowledgeLoss, within
from tfkd.optimizers import warmed_up_cosine
from tfkd.pipelines._by_name import optimizer_named
from tfkd.pipelines._data_of_run import DataOfRun
from tfkd.pipelines._evaluation import predict
from tfkd.schemes import Stage, Stages
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.tasks import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taught:
    """What came of a scheme.

    Attributes:
        student: the network to leave with.
        history: of all epochs.
        teacher: who is measured beside the student, or None.
        networks: all that were trained, by what they are called in files; empty if it is the student alone.
    """

    student: keras.Model
    history: keras.callbacks.History
    teacher: keras.Model | None
    networks: dict[str, keras.Model] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Course:
    """Data, networks and numbers of a run, and how `fit` is called with them.

    Args:
        teachers: trained networks; may be empty.
        make_students: functions that return a new student each time, one for each that was asked for; empty
            for the scheme's own.
        data: what is learned from, and what was held out.
        losses: distillation losses; None for the scheme's own.
        loss_weights: of them; None for the scheme's own.
        student_loss_weight: share of the labels' loss; None for the scheme's own.
        task: what outputs mean.
        epochs: how many, for each network that is trained.
        batch_size: examples in an update.
        optimizer: its name, with options.
        learning_rate: peak rate; it rises for the first 5 % of a network's updates and falls as a cosine.
        seed: what all randomness follows from.
        jit_compile: as of `keras.Model.compile`.
        callbacks: for all `fit`s.
        backup_dir: folder that an interrupted run goes on from, or None.
    """

    teachers: Sequence[keras.Model]
    make_students: Sequence[Callable[[], keras.Model]]
    data: DataOfRun
    losses: Sequence[KnowledgeLoss] | None
    loss_weights: Sequence[float] | str | None
    student_loss_weight: float | None
    task: Task
    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float
    seed: int
    jit_compile: bool | str
    callbacks: Sequence[keras.callbacks.Callback]
    backup_dir: str | None

    @property
    def teacher(self) -> keras.Model | None:
        """The first teacher, if there is one."""
        return self.teachers[0] if self.teachers else None

    def student(self) -> keras.Model:
        """A new student, of the first kind that was asked for."""
        return self.make_students[0]()

    def losses_or_soft(self, temperature: float) -> list[KnowledgeLoss]:
        """The losses that were asked for, or that of the task for a teacher's outputs."""
        return [self.task.soft_loss(temperature)] if self.losses is None else list(self.losses)

    def losses_within(self) -> list[KnowledgeLoss]:
        """The losses that were asked for, between layers of the student."""
        return [within(loss) for loss in self.losses or ()]

    def steps(self, count: int | None = None) -> int:
        """Updates of a network whose epochs have so many examples; None for the training data."""
        return self.epochs * -(-(count or self.data.training.count) // self.batch_size)

    def fresh_optimizer(self, steps: int | None = None) -> keras.optimizers.Optimizer:
        """An optimizer for so many updates; None for those of the training data."""
        rate = warmed_up_cosine(self.learning_rate, self.steps() if steps is None else steps)
        return optimizer_named(self.optimizer, rate)

    def for_fit(self) -> dict[str, Any]:
        """Keyword arguments of `fit` of stages and chains, data included."""
        seeds = EpochSeed((self.seed, 0))
        return {
            "x": self.data.training.shuffled_batches(self.batch_size, seeds),
            "shuffle": False,
            "loss": self.task.label_loss(),
            "metrics": [self.task.metric()],
            "validation_data": self.data.validation.batches(self.batch_size),
            "callbacks": [seeds, *self.callbacks],
            "jit_compile": self.jit_compile,
            "backup_dir": self.backup_dir,
            "verbose": 0,
        }

    def fit(
        self,
        teacher: keras.Model | None,
        student: keras.Model,
        losses: Sequence[KnowledgeLoss],
        scheme: Callable[..., Any] | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> tuple[Any, keras.callbacks.History]:
        """Trains a student in one stage.

        Args:
            teacher: whom it learns from, or None.
            student: the built network.
            losses: what it learns.
            scheme: as of `tfkd.schemes.Stage`.
            callbacks: for the stage.

        Returns:
            The distiller and its history.
        """
        stage = Stage(
            losses,
            self.epochs,
            self.loss_weights,
            self.student_loss_weight,
            optimizer=self.fresh_optimizer(),
            callbacks=callbacks,
            scheme=scheme,
        )
        stages = Stages([stage], self.seed)
        history = stages.fit(teacher, student, **self.for_fit())
        return stages.distiller, history

    def best(self, networks: Sequence[keras.Model]) -> int:
        """The number of the network that is most right on examples that were held out."""
        x, y = self.data.judging
        loss = self.task.label_loss()
        return int(np.argmin([float(loss(tf.constant(y), predict(network, x))) for network in networks]))
