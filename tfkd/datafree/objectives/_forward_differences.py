"""Gradients through a black-box teacher, estimated from differences of its outputs."""

import math
from collections.abc import Callable

import keras
from keras import ops

from tfkd.datafree._lesson import Lesson
from tfkd.datafree.objectives._adversarial import Adversarial


class ForwardDifferences:
    """The disagreement of student and teacher, and its gradient estimated by queries to a black box.

    It is used in place of `ImageObjective`.

    For each image and each of `directions` random unit vectors u, the gradient is estimated as
    `d / step * (L(x + step * u) - L(x)) * u`, with d the number of values in x, and averaged. Nothing is
    differentiated; each image costs `directions + 1` queries.

    Args:
        lesson: the black box, the student, their task, and the seed of the directions.
        objective: the adversarial objective; its distance is evaluated for each image.
        pixels: maps the perturbed values (the generator's output before its last activation) to images.
        step: the length of the steps.
        directions: the number of steps per image.

    Reference:
        Truong et al., "Data-Free Model Extraction" (DFME), 2021.
    """

    def __init__(
        self, lesson: Lesson, objective: Adversarial, pixels: Callable, step: float, directions: int
    ) -> None:
        self.lesson, self.objective = lesson, objective
        self.pixels, self.step, self.directions = pixels, step, directions
        self.trackers = [keras.metrics.Mean(name=f"generator_{objective.name}")]
        self.states, self.optimizers, self.trainable_variables = [], [], []

    def value_and_gradients(self, raw, targets=None, adversarial_weight=1.0):
        """Like `ImageObjective.value_and_gradients`, but for the values before `pixels`."""
        here = self._values(raw)
        gradient, over = 0.0, tuple(range(1, len(raw.shape)))
        size = math.prod(raw.shape[1:])
        for _ in range(self.directions):
            u = keras.random.normal(raw.shape, seed=self.lesson.seed)
            u /= ops.sqrt(ops.sum(u**2, axis=over, keepdims=True))
            rise = (self._values(raw + self.step * u) - here) / self.step
            gradient += size * ops.reshape(rise, (-1, *(1,) * len(over))) * u / self.directions
        mean = ops.mean(here)
        self.trackers[0].update_state(mean)
        weight = self.objective.weight * adversarial_weight
        return weight * mean, weight * gradient / raw.shape[0], []

    def learn(self, gradients) -> None:
        """Does nothing: there is nothing to train."""

    def finish(self) -> None:
        """Does nothing: there is nothing to finish."""

    def _values(self, raw):
        images = self.pixels(raw)
        answers = self.lesson.ask(images), self.lesson.student(images, training=False)
        return -self.objective.distances(*answers, self.lesson.task)
