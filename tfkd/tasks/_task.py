"""Task: the meaning of a network's outputs, and everything that depends on it."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfkd._core.names import snake_case
from tfkd.losses import KnowledgeLoss


class Task(ABC):
    """The meaning of a network's outputs; all argmaxes and softmaxes of them are here.

    Outputs are what networks return under the convention of `tfkd.load_teacher`: logits of classes or of
    labels, or numbers. Methods that a compiled step uses take and return tensors; those that measure take
    and return NumPy arrays.

    Your own task is a subclass. Pass it as `tfkd.load_teacher(path, task=Mine)`, and test it with
    `tfkd.testing.check_task`.

    Args:
        output_shape: shape of the network's output without the batch, such as `(10,)`; None for an open
            size, such as the number of tokens in `(None, 30522)`.

    Raises:
        ValueError: if a network with such an output cannot have this task.

    Example:
        >>> task = tfkd.tasks.task_of(teacher)
        >>> task.agreement(teacher(images), student(images))
    """

    # Whether outputs name classes, so that images can be made for each class.
    has_classes: ClassVar[bool] = False
    # Final activations that are removed to get the logits this task works on, the usual one first; empty if
    # outputs are used directly.
    activations: ClassVar[tuple[str, ...]] = ()
    # Whether outputs are logits, which a temperature softens.
    tempered: ClassVar[bool] = False
    # Name of the inputs, in the plural, for messages.
    examples: ClassVar[str] = "inputs"
    # Description of the outputs, for users of a network.
    outputs_are: ClassVar[str] = "answers"
    # Whether a single output z means two logits, (0, z).
    binary_as_pair: ClassVar[bool] = False

    def __init__(self, output_shape: tuple[int, ...]) -> None:
        self.output_shape = tuple(output_shape)
        self.check_output_shape()

    @abstractmethod
    def check_output_shape(self) -> None:
        """Raises ValueError if `output_shape` does not fit the task."""

    @property
    def name(self) -> str:
        """Its name in `load_teacher(task=)` and `--task`."""
        return snake_case(type(self).__name__)

    @property
    def classes(self) -> int:
        """The number of classes, labels or numbers in an output."""
        return self.output_shape[-1]

    @abstractmethod
    def agreement(self, teacher, student) -> Any:
        """Agreement of two outputs, per example: float32 `(batch,)` in [0, 1]."""

    @abstractmethod
    def divergence(self, teacher, student) -> Any:
        """Distance of the student's outputs from the teacher's: float32 `(batch,)`, at least 0."""

    @abstractmethod
    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None) -> Any:
        """Draws targets for making inputs.

        Args:
            n: number of targets.
            seed: a `keras.random.SeedGenerator`.
            answers: the teacher's outputs for `n` inputs that will be changed, if there are any.

        Returns:
            A tensor whose first axis has `n` targets.
        """

    @abstractmethod
    def target_loss(self, targets, outputs) -> Any:
        """Distance of outputs from targets: float32 `(batch,)`."""

    @abstractmethod
    def soft_loss(self, temperature: float = 1.0) -> KnowledgeLoss:
        """The loss on the teacher's outputs."""

    @abstractmethod
    def label_loss(self) -> keras.losses.Loss:
        """The loss on true labels."""

    @abstractmethod
    def metric(self) -> keras.metrics.Metric:
        """The task's metric for true labels."""

    @abstractmethod
    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        """True labels of `n` examples in the form that `score` takes.

        Raises:
            ValueError: if they are invalid; names `argument`.
        """

    @abstractmethod
    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Figures of accuracy, by name; the first one is the main one."""

    @abstractmethod
    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        """Whether outputs are hardly better than guesses that ignore the input."""

    def diagnose(self, outputs: np.ndarray) -> str | None:
        """Why a teacher with these finite outputs for many synthetic inputs looks broken.

        Returns:
            The observation and what it suggests, in words that follow "it"; None if nothing looks wrong.
        """
        return None

    def agreement_text(self, share: str, examples: str = "examples") -> str:
        """A mean agreement of two networks in words, as the predicate of a sentence.

        Args:
            share: the formatted agreement, such as "97.5 %".
            examples: name of the inputs, in the plural.
        """
        return f"agree to {share}"

    def captions(self, outputs: np.ndarray) -> list[str]:
        """Each output in a few characters, as a caption above an image of its input."""
        return [""] * len(outputs)

    def guess(self, outputs: np.ndarray) -> float:
        """The agreement of the best constant output with these outputs."""
        constant = np.broadcast_to(self.constant(outputs), outputs.shape)
        return float(np.mean(np.asarray(self.agreement(outputs, constant), "float64")))

    @abstractmethod
    def constant(self, outputs: np.ndarray) -> np.ndarray:
        """The best constant output."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.output_shape})"


class ClassTask(Task):
    """A task with classes as outputs; one or several may be right."""

    has_classes: ClassVar[bool] = True
    tempered: ClassVar[bool] = True

    @property
    def groups(self) -> int:
        """The number of groups that `group` distinguishes."""
        return self.classes

    @abstractmethod
    def group(self, outputs) -> Any:
        """The class of each example for balancing classes: int32 `(batch,)`."""

    def shares(self, outputs: np.ndarray) -> np.ndarray:
        """The fraction of examples with each class or label: `(groups,)`."""
        return np.bincount(np.asarray(self.group(outputs)), minlength=self.groups) / len(outputs)

    @abstractmethod
    def log_probabilities(self, outputs) -> Any:
        """The log-probability of each class: float32 `(batch, classes)`."""

    @abstractmethod
    def log_outcomes(self, outputs) -> Any:
        """Log-probabilities of all outcomes: float32 `(batch, ..., outcomes)`.

        Along the last axis probabilities sum to 1; other axes are independent of each other.
        """

    @abstractmethod
    def confidence(self, outputs) -> Any:
        """Confidence of an output: float32 `(batch,)` in [0, 1]."""

    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None):
        return keras.random.randint((n,), 0, self.classes, seed=seed)

    def check_targets(self, targets, n: int) -> np.ndarray:
        """Requested classes of images, as int32 `(n,)`.

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
    """The task as a ClassTask.

    Raises:
        ValueError: if its outputs do not name classes.
    """
    if not isinstance(task, ClassTask):
        raise ValueError(f"`task` must be one whose outputs name classes. Received: {task!r}.")
    return task


def as_float32(outputs):
    """Outputs of any precision as float32, for softmaxes and sums."""
    return ops.cast(outputs, "float32")
