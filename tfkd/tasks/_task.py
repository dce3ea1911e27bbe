"""Task: what a network answers, and all that follows from it."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfkd._core.names import snake_case
from tfkd.losses import KnowledgeLoss


class Task(ABC):
    """What a network's outputs mean. Nobody else takes an argmax or a softmax of them.

    Outputs are what networks return under the convention of `tfkd.load_teacher`: logits of classes or of
    labels, or numbers. Methods that a compiled step uses take and return tensors; those that measure take
    and return NumPy arrays.

    A task of your own is a subclass in one file. `tfkd.load_teacher(path, task=Mine)` takes it, and
    `tfkd.testing.check_task` checks it.

    Args:
        output_shape: of the network's output without the batch, such as `(10,)`; None where a side is open,
            such as the number of tokens in `(None, 30522)`.

    Raises:
        ValueError: if a network with such an output cannot have this task.

    Example:
        >>> task = tfkd.tasks.task_of(teacher)
        >>> task.agreement(teacher(images), student(images))
    """

    # Whether an answer names one of several things, so that images can be made for each of them.
    has_classes: ClassVar[bool] = False
    # The last activations that are undone to have the logits that this task works on, the usual one first;
    # empty if outputs are answers as they stand.
    activations: ClassVar[tuple[str, ...]] = ()
    # Whether answers are logits, which a temperature softens.
    tempered: ClassVar[bool] = False
    # What networks are asked about, in the plural, for messages.
    examples: ClassVar[str] = "inputs"
    # What outputs are, for people who use a network.
    outputs_are: ClassVar[str] = "answers"
    # Whether one output z stands for two logits, (0, z).
    binary_as_pair: ClassVar[bool] = False

    def __init__(self, output_shape: tuple[int, ...]) -> None:
        self.output_shape = tuple(output_shape)
        self.check_output_shape()

    @abstractmethod
    def check_output_shape(self) -> None:
        """Raises ValueError if `output_shape` does not fit the task."""

    @property
    def name(self) -> str:
        """What `load_teacher(task=)` and `--task` call it."""
        return snake_case(type(self).__name__)

    @property
    def classes(self) -> int:
        """How many classes, labels or numbers an answer consists of."""
        return self.output_shape[-1]

    @abstractmethod
    def agreement(self, teacher, student) -> Any:
        """How far two answers are the same, example by example: float32 `(batch,)` in [0, 1]."""

    @abstractmethod
    def divergence(self, teacher, student) -> Any:
        """How far the student's answers are from the teacher's: float32 `(batch,)`, at least 0."""

    @abstractmethod
    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None) -> Any:
        """Draws answers that inputs are to be made for.

        Args:
            n: how many.
            seed: a `keras.random.SeedGenerator`.
            answers: the teacher's outputs for `n` inputs that are to be changed, where there are some.

        Returns:
            A tensor whose first axis has `n` targets.
        """

    @abstractmethod
    def target_loss(self, targets, outputs) -> Any:
        """How far outputs are from targets: float32 `(batch,)`."""

    @abstractmethod
    def soft_loss(self, temperature: float = 1.0) -> KnowledgeLoss:
        """The loss that teaches a student the teacher's outputs."""

    @abstractmethod
    def label_loss(self) -> keras.losses.Loss:
        """The loss that teaches a student true labels."""

    @abstractmethod
    def metric(self) -> keras.metrics.Metric:
        """The metric of true labels that goes with the task."""

    @abstractmethod
    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        """True labels of `n` examples in the form that `score` takes.

        Raises:
            ValueError: if they do not fit, naming `argument`.
        """

    @abstractmethod
    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Figures of how right outputs are, by name; the first one is the main one."""

    @abstractmethod
    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        """Whether outputs are hardly more right than guesses that never look at the input."""

    def diagnose(self, outputs: np.ndarray) -> str | None:
        """Why a teacher that gives these finite outputs to many synthetic inputs looks broken.

        Returns:
            What was seen and what it suggests, in words that follow "it"; None if nothing looks wrong.
        """
        return None

    def agreement_text(self, share: str, examples: str = "examples") -> str:
        """What a mean agreement says of two networks, as the predicate of a sentence.

        Args:
            share: the agreement as it is to be written, such as "97.5 %".
            examples: what the networks were asked about, in the plural.
        """
        return f"agree to {share}"

    def captions(self, outputs: np.ndarray) -> list[str]:
        """Each answer in a few characters, to be written above a picture of its input."""
        return [""] * len(outputs)

    def guess(self, outputs: np.ndarray) -> float:
        """The agreement with these outputs of a student that always gives the best constant answer."""
        constant = np.broadcast_to(self.constant(outputs), outputs.shape)
        return float(np.mean(np.asarray(self.agreement(outputs, constant), "float64")))

    @abstractmethod
    def constant(self, outputs: np.ndarray) -> np.ndarray:
        """The constant answer that is right most often."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.output_shape})"


class ClassTask(Task):
    """A task whose answers name classes: one of them is right, or several may be."""

    has_classes: ClassVar[bool] = True
    tempered: ClassVar[bool] = True

    @property
    def groups(self) -> int:
        """How many groups `group` tells apart."""
        return self.classes

    @abstractmethod
    def group(self, outputs) -> Any:
        """The class that each example counts as where classes are balanced: int32 `(batch,)`."""

    def shares(self, outputs: np.ndarray) -> np.ndarray:
        """In which share of examples each class, or each label, is seen: `(groups,)`."""
        return np.bincount(np.asarray(self.group(outputs)), minlength=self.groups) / len(outputs)

    @abstractmethod
    def log_probabilities(self, outputs) -> Any:
        """The logarithm of each class's probability: float32 `(batch, classes)`."""

    @abstractmethod
    def log_outcomes(self, outputs) -> Any:
        """Logarithms of the probabilities of all that may be the case: float32 `(batch, ..., outcomes)`.

        Along the last axis probabilities sum to 1; other axes are independent of each other.
        """

    @abstractmethod
    def confidence(self, outputs) -> Any:
        """How sure an answer is: float32 `(batch,)` in [0, 1]."""

    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None):
        return keras.random.randint((n,), 0, self.classes, seed=seed)

    def check_targets(self, targets, n: int) -> np.ndarray:
        """Classes that somebody asks images of, as int32 `(n,)`.

        Raises:
            ValueError: if they are not `n` classes of the task.
        """
        targets = np.asarray(targets)
        if targets.shape != (n,) or not np.isin(targets, np.arange(self.classes)).all():
            raise ValueError(
                f"`labels` must be {n} classes from 0 to {self.classes - 1}. Received: shape "
                f"{targets.shape}, values {np.unique(targets)[:10].tolist()}."
            )
        return targets.astype("int32")


def as_class_task(task: Task) -> ClassTask:
    """The task, for what has a meaning for classes alone.

    Raises:
        ValueError: if its answers do not name classes.
    """
    if not isinstance(task, ClassTask):
        raise ValueError(f"`task` must be one whose answers name classes. Received: {task!r}.")
    return task


def as_float32(outputs):
    """Outputs of any precision, for softmaxes and sums."""
    return ops.cast(outputs, "float32")
