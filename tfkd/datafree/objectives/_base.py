"""The base class of objectives, and the batch that they evaluate."""

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
    """One batch of synthesized images, with the networks' outputs and features.

    Attributes:
        images: `(batch, ...)`, as the networks see them.
        teacher_logits: the teacher's outputs `(batch, ...)`.
        student_logits: the student's outputs in inference mode; None unless an objective needs them.
        targets: the target classes of the images, `(batch,)`; None if there are none.
        teacher_seen: the values of the teacher's taps that the objective uses, in its order.
        student_seen: the values of the student's taps that the objective uses.
        moments: the moments of the inputs of the teacher's layers that the objective uses; one for each
            call of a layer that is used several times.
        second_moments: the moments for a second view of the images; None unless an objective needs them.
        state: the `ObjectiveState` that the objective built, or None.
        task: the task; None for classification.
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
            ValueError: if the task has no classes.
        """
        return None if self.task is None else as_class_task(self.task)


class ObjectiveState(keras.Layer):
    """The state that an objective keeps between steps.

    Args:
        optimizer: updates its trainable variables along with the images; None if it has none.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer | None = None, **kwargs) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.optimizer = optimizer


class _OldNames(type):
    """Accepts arguments by their old names for one more version."""

    renamed: Mapping[str, str]

    def __call__(cls, *args, **given):
        for old, new in cls.renamed.items():
            if old in given:
                warn_renamed(f"{cls.__name__}({old}=)", new)
                given[new] = given.pop(old)
        return super().__call__(*args, **given)


@dataclasses.dataclass(frozen=True)
class Objective(metaclass=_OldNames):
    """One term of the objective of synthesized images; minimized.

    Args:
        weight: the weight of the term in the total; negative to maximize it.
    """

    weight: float = 1.0
    # Old names of arguments and their new ones.
    renamed: ClassVar[Mapping[str, str]] = {}
    needs_student: ClassVar[bool] = False
    # Whether it needs classes, which not every task has.
    needs_classes: ClassVar[bool] = False
    # Whether it needs inputs to be images.
    needs_images: ClassVar[bool] = False
    needs_second_view: ClassVar[bool] = False
    # Whether it depends on the networks, or on pixels only.
    asks_networks: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """The class's name in snake case, used in `History`."""
        return snake_case(type(self).__name__)

    def taps(self, teacher: keras.Model) -> tuple[str, ...]:
        """The teacher's taps that the term uses."""
        return ()

    def student_taps(self, student: keras.Model) -> tuple[str, ...]:
        """The student's taps that the term uses."""
        return ()

    def stored(self, teacher: keras.Model) -> dict[str, tuple]:
        """`{tap: (mean, variance, axis)}` of the teacher's layers whose moments the term uses."""
        return {}

    def problem(self, teacher: keras.Model) -> str | None:
        """Why the term does not apply to this teacher; None if it does."""
        return None

    def check_batch(self, batch_size: int, task: Task) -> None:
        """Raises ValueError if the term is meaningless for batches of this size."""

    def build(
        self, example: Synthesized, batch_size: int, seed: keras.random.SeedGenerator
    ) -> ObjectiveState | None:
        """Creates the state that the term keeps between steps.

        Args:
            example: the networks' values for one black image.
            batch_size: the number of images in a batch.
            seed: the seed generator for its random numbers.

        Returns:
            A new state, whose trainable variables are trained along with the images; None for no state.
        """
        return None

    def value(self, batch: Synthesized) -> Any:
        """The term's scalar value, before its weight."""
        raise NotImplementedError

    def finish(self, state: ObjectiveState | None) -> None:
        """Called when a batch of images is finished."""


@dataclasses.dataclass(frozen=True)
class OfPixels(Objective):
    """A term that depends only on normalized pixels.

    Args:
        weight: the weight of the term.
        pixel_mean: subtracted from pixels in [0, 1], a number or one per channel.
        pixel_std: the divisor of the result.
    """

    pixel_mean: float | tuple[float, ...] = 0.5
    pixel_std: float = 0.25
    asks_networks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("pixel_std", self.pixel_std, above=0)

    def normalized(self, images):
        """The images, normalized to the scale on which the term is defined."""
        return (images - self.pixel_mean) / self.pixel_std
