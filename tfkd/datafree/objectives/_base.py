"""What every objective sees, and how objectives are declared."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import keras

from tfkd._core.checks import check_number
from tfkd._core.names import snake_case
from tfkd._core.renames import warn_renamed
from tfkd.datafree.objectives._moments import Moments
from tfkd.tasks import ClassTask, Task
from tfkd.tasks._task import as_class_task


@dataclasses.dataclass(frozen=True)
class Synthesized:
    """One batch of synthesized images and what the networks make of it.

    Attributes:
        images: `(batch, ...)`, as the networks see them.
        teacher_logits: the teacher's outputs `(batch, ...)`.
        student_logits: the student's, in inference mode; None unless an objective asked for it.
        targets: what the images are made for, `(batch,)`; None where they are made for nothing.
        teacher_seen: values of the teacher's taps that the objective asked for, in its order.
        student_seen: the same for the student.
        moments: of what entered the teacher's layers that the objective asked for; one for each call of
            a layer that is used several times.
        second_moments: the same for a second view of the images; None unless an objective asked.
        state: what the objective built, an `ObjectiveState`, or None.
        task: what the networks' outputs mean; None for classification.
    """

    images: Any
    teacher_logits: Any
    student_logits: Any = None
    targets: Any = None
    teacher_seen: tuple = ()
    student_seen: tuple = ()
    moments: tuple[Moments, ...] = ()
    second_moments: tuple[Moments, ...] | None = None
    state: Any = None
    task: Task | None = None

    @property
    def class_task(self) -> ClassTask | None:
        """`task`, for objectives that need classes.

        Raises:
            ValueError: if its answers do not name classes.
        """
        return None if self.task is None else as_class_task(self.task)


class ObjectiveState(keras.Layer):
    """What an objective remembers from step to step.

    Args:
        optimizer: moves its trainable variables along with the images; None where it has none.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer | None = None, **kwargs) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.optimizer = optimizer


class _OldNames(type):
    """Takes arguments by their old names for one more version."""

    renamed: Mapping[str, str]

    def __call__(cls, *args, **given):
        for old, new in cls.renamed.items():
            if old in given:
                warn_renamed(f"{cls.__name__}({old}=)", new)
                given[new] = given.pop(old)
        return super().__call__(*args, **given)


@dataclasses.dataclass(frozen=True)
class Objective(metaclass=_OldNames):
    """One term of what images are made for; minimized.

    Args:
        weight: factor of the term in the total; below 0 for the opposite.
    """

    weight: float = 1.0
    # Old names of arguments and their new ones.
    renamed: ClassVar[Mapping[str, str]] = {}
    needs_student: ClassVar[bool] = False
    # Whether it is about the classes that answers name, which not every task's do.
    needs_classes: ClassVar[bool] = False
    # Whether inputs have to be images for it.
    needs_images: ClassVar[bool] = False
    needs_second_view: ClassVar[bool] = False
    # Whether the networks have a part in it, or only the pixels.
    asks_networks: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The class's name in snake case, used in `History`."""
        return snake_case(type(self).__name__)

    def taps(self, teacher: keras.Model) -> tuple[str, ...]:
        """Taps of the teacher that the term reads."""
        return ()

    def student_taps(self, student: keras.Model) -> tuple[str, ...]:
        """Taps of the student that the term reads."""
        return ()

    def stored(self, teacher: keras.Model) -> dict[str, tuple]:
        """`{tap: (mean, variance, axis)}` of the teacher's layers whose moments the term reads."""
        return {}

    def problem(self, teacher: keras.Model) -> str | None:
        """Why the term has nothing to say about this teacher's images; None where it has."""
        return None

    def check_batch(self, batch_size: int, task: Task) -> None:
        """Raises ValueError for batches in which the term means nothing."""

    def build(
        self, example: Synthesized, batch_size: int, seed: keras.random.SeedGenerator
    ) -> ObjectiveState | None:
        """Makes what the term remembers from step to step.

        Args:
            example: what the networks make of one black image.
            batch_size: images in a batch.
            seed: where its randomness comes from.

        Returns:
            A new state, its variables that are to be trained with the images trainable; None for nothing.
        """
        return None

    def value(self, batch: Synthesized) -> Any:
        """The term's scalar value, before its weight."""
        raise NotImplementedError

    def finish(self, state: ObjectiveState | None) -> None:
        """Called when a batch of images is done."""


@dataclasses.dataclass(frozen=True)
class OfPixels(Objective):
    """A term that looks at normalized pixels and at nothing else.

    Args:
        weight: factor of the term.
        pixel_mean: what is subtracted from pixels in [0, 1], a number or one per channel.
        pixel_std: what they are then divided by.
    """

    pixel_mean: float | tuple[float, ...] = 0.5
    pixel_std: float = 0.25
    asks_networks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("pixel_std", self.pixel_std, above=0)

    def normalized(self, images):
        """Images on the scale that the term is defined on."""
        return (images - self.pixel_mean) / self.pixel_std
