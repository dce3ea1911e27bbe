"""Course: everything a scheme needs to train students."""

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
    """The result of a scheme.

    Attributes:
        student: the resulting network.
        history: logs of all epochs.
        teacher: the teacher to measure for comparison, or None.
        networks: all trained networks, by their names in files; empty if there is only the student.
    """

    student: keras.Model
    history: keras.callbacks.History
    teacher: keras.Model | None
    networks: dict[str, keras.Model] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Course:
    """Data, networks and settings of a run, and how `fit` is called with them.

    Args:
        teachers: trained networks; may be empty.
        make_students: functions that each return a new student, one per requested student; empty for the
            scheme's own.
        data: training data and held-out data.
        losses: distillation losses; None for the scheme's own.
        loss_weights: weights of the losses; None for the scheme's own.
        student_loss_weight: weight of the labels' loss; None for the scheme's own.
        task: the task of the outputs.
        epochs: number of epochs for each trained network.
        batch_size: examples in an update.
        optimizer: name of the optimizer, with options.
        learning_rate: peak learning rate; warm-up over the first 5 % of a network's updates, then cosine
            decay.
        seed: int seed of all randomness.
        jit_compile: as for `keras.Model.compile`.
        callbacks: for all `fit`s.
        backup_dir: folder for resuming an interrupted run, or None.
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
        """A new student, of the first requested kind."""
        return self.make_students[0]()

    def losses_or_soft(self, temperature: float) -> list[KnowledgeLoss]:
        """The requested losses, or the task's loss for a teacher's outputs."""
        return [self.task.soft_loss(temperature)] if self.losses is None else list(self.losses)

    def losses_within(self) -> list[KnowledgeLoss]:
        """The requested losses, between layers of the student."""
        return [within(loss) for loss in self.losses or ()]

    def steps(self, count: int | None = None) -> int:
        """Number of updates for epochs of `count` examples; None for the training data."""
        return self.epochs * -(-(count or self.data.training.count) // self.batch_size)

    def fresh_optimizer(self, steps: int | None = None) -> keras.optimizers.Optimizer:
        """An optimizer for that many updates; None for as many as the training data require."""
        rate = warmed_up_cosine(self.learning_rate, self.steps() if steps is None else steps)
        return optimizer_named(self.optimizer, rate)

    def for_fit(self) -> dict[str, Any]:
        """Keyword arguments for `fit` of stages and chains, including the data."""
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
            teacher: the teacher, or None.
            student: the built network.
            losses: the distillation losses.
            scheme: as for `tfkd.schemes.Stage`.
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
        """The index of the network that is best on held-out examples."""
        x, y = self.data.judging
        loss = self.task.label_loss()
        return int(np.argmin([float(loss(tf.constant(y), predict(network, x))) for network in networks]))
