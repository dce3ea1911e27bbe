"""Source: where a student's inputs come from, and all that is trained or moved to make them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from tfkd.datafree._lesson import Lesson


class Batch(NamedTuple):
    """Inputs for the student.

    Args:
        images: float32 `(batch, ...)`.
        logits: the teacher's answers; None where nobody wants them.
    """

    images: Any
    logits: Any = None


class TrainedNetwork(NamedTuple):
    """A network that a source trains throughout the run.

    Args:
        model: the network.
        updates_per_step: how often it is updated in a step.
    """

    model: keras.Model
    updates_per_step: int


class Source(keras.Layer):
    """Makes inputs and owns what they are made with: generators, their optimizers, chains, trackers.

    A step of `DataFreeDistiller` calls `before`, then `draw` for each update of the student on new inputs
    (`wait` instead, in warm-up steps), then `after`. All state is in variables, so a source is saved, taken
    over and rolled back as one layer.

    Args:
        lesson: the networks, their task, and random numbers.
        **kwargs: passed to `keras.Layer`.
    """

    # What usually helps where its images are all alike or of few classes.
    remedy = "another recipe usually helps"

    def __init__(self, lesson: Lesson, **kwargs) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.lesson = lesson
        self.built = True

    @property
    def trained(self) -> Mapping[str, TrainedNetwork]:
        """The networks that are trained, by name; each is given an optimizer."""
        return {}

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """Whose moments are state of the source."""
        return []

    @property
    def trackers(self) -> list[keras.metrics.Metric]:
        """What is measured while inputs are made."""
        return []

    def compile(self, optimizers: Mapping[str, keras.optimizers.Optimizer]) -> None:
        """Takes an optimizer, already built, for each of the networks in `trained`."""

    def retrace(self, once: Callable[[Callable], Callable]) -> None:
        """Wraps functions that a step repeats by `once`, which traces them once."""

    def before(self, adversarial_weight) -> Any:
        """What is trained or made before the student learns.

        Args:
            adversarial_weight: multiplier of what depends on the student; 0 in warm-up.

        Returns:
            What `draw` is given in this step; None for nothing.
        """
        return None

    def draw(self, n: int, made: Any = None, examples: Any = None) -> Batch:
        """New inputs.

        Args:
            n: how many.
            made: what `before` returned in this step.
            examples: real inputs of this step, where there are some.

        Returns:
            Inputs without gradient, with the teacher's answers where the lesson keeps them.
        """
        raise NotImplementedError

    def after(self, adversarial_weight) -> None:
        """What is trained after the student learned."""

    def wait(self) -> None:
        """What goes on in a warm-up step, instead of `draw`."""

    def candidates(self, targets) -> Any:
        """Images in which the teacher may see these targets."""
        return self.draw(targets.shape[0]).images

    def kept(self, n: int) -> np.ndarray | None:
        """`n` of the images that are kept, in random order; None where new ones are made at any time."""
        return None

    def available(self, n: int) -> int:
        """How many of `n` images can be had without one coming twice."""
        return n

    def made_by_draws(self, n: int, draws: int) -> int:
        """How many images so many draws of `n` in one step make, candidates included."""
        return n * draws

    def made_by_training(self) -> int:
        """How many images `before` and `after` of a step make."""
        return 0

    def made_by_waiting(self) -> int:
        """How many images `wait` makes."""
        return 0
