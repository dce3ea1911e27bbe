"""Source: the base class of sources, which make a student's inputs."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from tfkd.datafree._lesson import Lesson


class Batch(NamedTuple):
    """Inputs for the student.

    Args:
        images: float32 `(batch, ...)`.
        logits: the teacher's outputs; None if they are not used.
    """

    images: Any
    logits: Any = None


class TrainedNetwork(NamedTuple):
    """A network that a source trains throughout the run.

    Args:
        model: the network.
        updates_per_step: the number of its updates per step.
    """

    model: keras.Model
    updates_per_step: int


class Source(keras.Layer):
    """Makes inputs, and owns the generators, optimizers, chains and trackers that it needs for that.

    A step of `DataFreeDistiller` calls `before`, then `draw` for each student update on new inputs (or
    `wait`, in warm-up steps), then `after`. All state is in variables, so a source can be saved, taken over
    and rolled back as one layer.

    Args:
        lesson: the networks, their task, and the random state.
        **kwargs: passed to `keras.Layer`.
    """

    # What usually helps if its images are all similar or of few classes.
    remedy = "another recipe usually helps"

    def __init__(self, lesson: Lesson, **kwargs) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.lesson = lesson
        self.built = True

    @property
    def trained(self) -> Mapping[str, TrainedNetwork]:
        """The networks that are trained, by name; each gets an optimizer."""
        return {}

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The optimizers whose moments are part of the source's state."""
        return []

    @property
    def trackers(self) -> list[keras.metrics.Metric]:
        """The metrics measured while inputs are made."""
        return []

    def compile(self, optimizers: Mapping[str, keras.optimizers.Optimizer]) -> None:
        """Takes a built optimizer for each of the networks in `trained`."""

    def retrace(self, once: Callable[[Callable], Callable]) -> None:
        """Wraps functions that a step repeats with `once`, which traces them once."""

    def before(self, adversarial_weight) -> Any:
        """Does the training or synthesis needed before the student's updates.

        Args:
            adversarial_weight: the multiplier of student-dependent objectives; 0 in the warm-up.

        Returns:
            A value that is passed to `draw` in this step, or None.
        """
        return None

    def draw(self, n: int, made: Any = None, examples: Any = None) -> Batch:
        """Makes new inputs.

        Args:
            n: the number of inputs.
            made: the value that `before` returned in this step.
            examples: the real inputs of this step, if there are any.

        Returns:
            Inputs without gradient, with the teacher's outputs if the lesson keeps them.
        """
        raise NotImplementedError

    def after(self, adversarial_weight) -> None:
        """Does the training that follows the student's updates."""

    def wait(self) -> None:
        """Called in a warm-up step instead of `draw`."""

    def candidates(self, targets) -> Any:
        """Candidate images for these target classes."""
        return self.draw(targets.shape[0]).images

    def kept(self, n: int) -> np.ndarray | None:
        """`n` stored images in random order; None if the source can make new ones at any time."""
        return None

    def available(self, n: int) -> int:
        """How many of `n` images are available without repetitions."""
        return n

    def made_by_draws(self, n: int, draws: int) -> int:
        """The number of images made by a number of draws of `n` in one step, candidates included."""
        return n * draws

    def made_by_training(self) -> int:
        """The number of images that `before` and `after` make in a step."""
        return 0

    def made_by_waiting(self) -> int:
        """The number of images that `wait` makes."""
        return 0
