"""Gradients of a teacher that only answers, from differences of its answers."""

import keras
from keras import ops

from tfkd.datafree.objectives._adversarial import Adversarial


class ForwardDifferences:
    """A critic of a black box: how far student and teacher disagree, and the slope of that by questions.

    For each image and each of `directions` random unit vectors u, the slope is estimated as
    `d / step * (L(x + step * u) - L(x)) * u`, with d the number of values in x, and averaged. Nothing is
    differentiated; each image costs `directions + 1` questions.

    Args:
        teacher: the black box, from images to logits.
        student: the student.
        objective: the adversarial objective; its distance is taken image by image.
        pixels: maps what is moved (the generator's last layer before its squashing) to images.
        step: length of the moves.
        directions: how many moves an image.
        seed: where the directions come from.

    Reference:
        Truong et al., "Data-Free Model Extraction" (DFME), 2021.
    """

    states = ()

    def __init__(
        self,
        teacher: keras.Model,
        student: keras.Model,
        objective: Adversarial,
        pixels,
        step: float,
        directions: int,
        seed: keras.random.SeedGenerator,
    ) -> None:
        self.teacher, self.student, self.objective = teacher, student, objective
        self.pixels, self.step, self.directions, self.seed = pixels, step, directions, seed
        self.trackers = [keras.metrics.Mean(name=f"generator_{objective.name}")]
        self.trainable_variables = []

    def judge(self, raw, targets=None, adversary=1.0):
        """Like `Critic.judge`, for what the images are made of by `pixels`."""
        here = self._values(raw)
        slope = 0.0
        size = raw.shape[1] * raw.shape[2] * raw.shape[3]
        for _ in range(self.directions):
            u = keras.random.normal(raw.shape, seed=self.seed)
            u /= ops.sqrt(ops.sum(u**2, axis=(1, 2, 3), keepdims=True))
            rise = (self._values(raw + self.step * u) - here) / self.step
            slope += size * rise[:, None, None, None] * u / self.directions
        mean = ops.mean(here)
        self.trackers[0].update_state(mean)
        weight = self.objective.weight * adversary
        return weight * mean, weight * slope / raw.shape[0], []

    def learn(self, gradients) -> None:
        """There is nothing to be trained."""

    def finish(self) -> None:
        """There is nothing to be finished."""

    def _values(self, raw):
        images = self.pixels(raw)
        logits = ops.cast(self.teacher(images, training=False), "float32")
        return -self.objective.distances(logits, self.student(images, training=False))
