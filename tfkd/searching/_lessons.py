"""Lessons: training and evaluation of a trial's student."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.asking import answers
from tfkd._core.checks import check_int, check_number
from tfkd._core.copies import clone
from tfkd.datafree import DataFreeDistiller, Procedural, Recipe
from tfkd.distilling import Distiller, cache_teacher
from tfkd.distilling._arguments import check_share
from tfkd.losses import KnowledgeLoss
from tfkd.tasks import Task

_HELD_OUT_INPUTS = 1000
_TEMPERATURE = 4.0
_CACHED_BATCH = 256

Examples = tuple[np.ndarray, np.ndarray]


class Lesson(ABC):
    """Trains students and evaluates them, always on the same held-out inputs.

    Attributes:
        objective: name of the figure to maximize.
        held_out: the inputs for evaluating students.
    """

    objective: str
    held_out: np.ndarray

    @abstractmethod
    def teach(self, student: keras.Model, seed: int) -> None:
        """Trains a student; deterministic for the same student and seed."""

    @abstractmethod
    def examine(self, student: keras.Model) -> float:
        """The objective of a student, NaN if its outputs are not finite."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Everything that determines the trained students, JSON-compatible."""


class LessonOnData(Lesson):
    """Distillation on training data, evaluated on held-out examples.

    Args:
        teacher: a trained network.
        task: the task of its outputs.
        training_data: inputs and labels.
        validation_data: other data for evaluation; None to hold out a fraction of the training data.
        validation_share: that fraction, in (0, 1).
        losses: distillation losses; each trial gets copies. None for the task's.
        student_loss_weight: weight of the labels' loss.
        epochs: epochs of each trial.
        batch_size: batch size.
        optimizer: optimizer; each trial gets a copy; None for Adam with cosine decay.
        learning_rate: peak rate of that Adam.
        jit_compile: as for `keras.Model.compile`.
        seed: seed of the split.
    """

    def __init__(
        self,
        teacher: keras.Model,
        task: Task,
        training_data: Examples,
        validation_data: Examples | None,
        validation_share: float,
        losses: KnowledgeLoss | Sequence[KnowledgeLoss] | None,
        student_loss_weight: float,
        epochs: int,
        batch_size: int,
        optimizer: keras.optimizers.Optimizer | str | None,
        learning_rate: float,
        jit_compile: bool | str,
        seed: int,
    ) -> None:
        check_share(student_loss_weight)
        self.teacher, self.task = teacher, task
        self._losses = _listed(task.soft_loss(_TEMPERATURE) if losses is None else losses)
        self._student_loss_weight = student_loss_weight
        self._epochs, self._batch_size = check_int("epochs", epochs), check_int("batch_size", batch_size)
        self._optimizer = None if optimizer is None else keras.optimizers.get(optimizer)
        self._learning_rate = check_number("learning_rate", learning_rate, above=0)
        self._jit_compile = jit_compile
        x, y = _examples(training_data, teacher, task, "training_data")
        if validation_data is None:
            (x, y), validation = _split(x, y, validation_share, seed)
        else:
            validation = _examples(validation_data, teacher, task, "validation_data")
        self._training, self._validation = (x, y), validation
        self.held_out = validation[0]
        self._dataset: tf.data.Dataset | None = None
        self.objective = _main_figure(task, validation[1])

    def teach(self, student: keras.Model, seed: int) -> None:
        losses = [clone(loss) for loss in self._losses]
        distiller = Distiller(self.teacher, student, losses, student_loss_weight=self._student_loss_weight)
        x, _ = self._training
        updates = self._epochs * -(-len(x) // self._batch_size)
        labels_loss = self.task.label_loss() if self._student_loss_weight > 0 else None
        distiller.compile(self._new_optimizer(updates), loss=labels_loss, jit_compile=self._jit_compile)
        examples = self._answered(distiller).shuffle(len(x), seed=seed).batch(self._batch_size)
        silent: Any = 0
        distiller.fit(examples.prefetch(2), epochs=self._epochs, shuffle=False, verbose=silent)

    def _answered(self, distiller):
        """Single examples, with the teacher's outputs if nothing else of it is needed."""
        if distiller.loss_set.teacher_taps:
            return tf.data.Dataset.from_tensor_slices(self._training)
        if self._dataset is None:
            batches = tf.data.Dataset.from_tensor_slices(self._training).batch(_CACHED_BATCH)
            known_length = tf.data.experimental.assert_cardinality(len(self._training[0]))
            self._dataset = cache_teacher(batches, self.teacher).unbatch().apply(known_length)
        return self._dataset

    def _new_optimizer(self, updates):
        if self._optimizer is not None:
            return clone(self._optimizer)
        schedule = keras.optimizers.schedules.CosineDecay(self._learning_rate, updates)
        return keras.optimizers.Adam(schedule)

    def examine(self, student: keras.Model) -> float:
        outputs = answers(student, self.held_out)
        if not np.isfinite(outputs).all():
            return float("nan")
        return float(self.task.score(outputs, self._validation[1])[self.objective])

    def describe(self) -> dict[str, Any]:
        optimizer = self._optimizer
        return {
            "training_data": _digest(*self._training),
            "validation_data": _digest(*self._validation),
            "losses": [[type(loss).__name__, loss.get_config()] for loss in self._losses],
            "student_loss_weight": self._student_loss_weight,
            "epochs": self._epochs,
            "batch_size": self._batch_size,
            "optimizer": optimizer and [type(optimizer).__name__, optimizer.get_config()],
            "learning_rate": self._learning_rate if optimizer is None else None,
        }


class LessonWithoutData(Lesson):
    """Distillation by a data-free recipe, evaluated by agreement with the teacher on other inputs.

    Args:
        teacher: a trained network.
        task: the task of its outputs.
        student: any student, which is not changed; refined inputs depend on its disagreement with the
            teacher.
        recipe: the recipe for training students.
        jit_compile: as for `DataFreeDistiller.compile`.
        seed: seed of the held-out inputs.
    """

    objective = "agreement"

    def __init__(
        self,
        teacher: keras.Model,
        task: Task,
        student: keras.Model,
        recipe: Recipe,
        jit_compile: bool | str,
        seed: int,
    ) -> None:
        self.teacher, self.task, self.recipe, self._jit_compile = teacher, task, recipe, jit_compile
        # Inputs from a recipe's generators would depend on the training of these.
        prior = Procedural(memory=0, refine_steps=0 if getattr(teacher, "black_box", False) else 2)
        self.held_out = DataFreeDistiller(teacher, student, prior, seed, task=task).synthesize(
            _HELD_OUT_INPUTS
        )
        self._expected = answers(teacher, self.held_out)

    def teach(self, student: keras.Model, seed: int) -> None:
        distiller = DataFreeDistiller(self.teacher, student, self.recipe, seed, task=self.task)
        distiller.compile(jit_compile=self._jit_compile)
        distiller.fit(verbose=0)

    def examine(self, student: keras.Model) -> float:
        outputs = answers(student, self.held_out)
        if not np.isfinite(outputs).all():
            return float("nan")
        return float(np.mean(np.asarray(self.task.agreement(self._expected, outputs), "float64")))

    def describe(self) -> dict[str, Any]:
        return {"recipe": self.recipe.describe()}


def _listed(losses: Any) -> list[KnowledgeLoss]:
    return list(losses) if isinstance(losses, (list, tuple)) else [losses]


def _examples(data, teacher, task, argument):
    """Inputs and labels, checked against the teacher."""
    if not isinstance(data, (tuple, list)) or len(data) != 2 or data[1] is None:
        raise TypeError(
            f"`{argument}` must be (inputs, labels), since students are evaluated with labels. Received: "
            f"{type(data)}. Leave it out to search without data, by the agreement with the teacher."
        )
    x, shape = np.asarray(data[0]), tuple(teacher.input_shape[1:])
    if x.shape[1:] != shape or len(x) < 2 or not np.issubdtype(x.dtype, np.floating):
        raise ValueError(
            f"`{argument}`: inputs must be floats of shape (n, {', '.join(map(str, shape))}), n at least "
            f"2, as the teacher takes. Received: {x.dtype} of shape {x.shape}."
        )
    return x, task.check_labels(np.asarray(data[1]), len(x), f"the labels of `{argument}`")


def _split(x, y, share, seed):
    """Examples for training, and others for evaluation."""
    check_number("validation_share", share, above=0, below=1)
    held_out = max(1, round(share * len(x)))
    if held_out >= len(x):
        raise ValueError(
            f"`validation_share`={share!r} of {len(x)} examples leaves none for training. Give more "
            "`training_data`, or a smaller fraction."
        )
    order = np.random.default_rng(seed).permutation(len(x))
    judged, learned = order[:held_out], np.sort(order[held_out:])
    return (x[learned], y[learned]), (x[judged], y[judged])


def _main_figure(task, labels):
    """The name of the task's first figure for which higher is better."""
    outputs = np.zeros((len(labels), *task.output_shape), "float32")
    figures = [name for name in task.score(outputs, labels) if not name.endswith("error")]
    if not figures:
        raise ValueError(
            f"`validation_data`: task {task.name!r} has no figure to maximize for these data, for instance "
            "because all labels are equal. Give more varied ones."
        )
    return figures[0]


def _digest(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
