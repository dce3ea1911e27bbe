"""InversionSource: images made one batch at a time, and stored in memory."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.datafree import _parts as parts
from tfkd.datafree._lesson import Lesson
from tfkd.datafree._loops import repeat
from tfkd.datafree.objectives._image_objective import ImageObjective
from tfkd.datafree.sources._base import Batch, Source
from tfkd.datafree.sources._prior import PriorSource
from tfkd.datafree.sources.inversion import Inversion


class InversionSource(Source):
    """Makes batches for target classes by gradient steps, and stores them in the lesson's memory.

    Args:
        lesson: the networks, their task, the random state, and the memory.
        inversion: makes a batch.
        objective: the objective of its images.
        options: how many batches a step makes.
        prior: the source of initial images and of additional images to store; None if it is not used.
        from_prior: the number of prior images stored with each batch.
        starts_at_prior: whether inversion starts from prior images.
        draw_targets: a function from a seed generator to the targets of a batch.
        **kwargs: passed to `keras.Layer`.
    """

    remedy = (
        "a heavier ClassBalance objective or a share of procedural images (`prior_share`) usually helps"
    )

    def __init__(
        self,
        lesson: Lesson,
        inversion: Inversion,
        objective: ImageObjective,
        options: parts.Inversion,
        prior: PriorSource | None,
        from_prior: int,
        starts_at_prior: bool,
        draw_targets,
        **kwargs,
    ) -> None:
        super().__init__(lesson, **kwargs)
        self.inversion, self.objective, self.prior = inversion, objective, prior
        self.inversions, self.batch_size = options.inversions, options.inversion_batch
        self.from_prior, self.starts_at_prior = from_prior, starts_at_prior
        self.draw_targets = draw_targets
        # For Keras to track: states and metrics of objectives are part of the run's state.
        self._objective_states = objective.states
        self._objective_trackers = objective.trackers

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [*self.inversion.optimizers, *self.objective.optimizers]

    @property
    def trackers(self) -> list[keras.metrics.Metric]:
        return self.objective.trackers

    def before(self, adversarial_weight) -> None:
        repeat(self.inversions, lambda: self.fill(adversarial_weight))

    def fill(self, adversarial_weight) -> None:
        """Makes one batch and the prior's share, and stores them."""
        made = [self.invert(adversarial_weight)]
        if self.prior is not None and self.from_prior:
            made.append(self.prior.draw(self.from_prior))
        for images, logits in made:
            self.lesson.required_memory.add(images, logits)

    def invert(self, adversarial_weight) -> Batch:
        """Makes one batch."""
        targets, start = self.draw_targets(self.lesson.seed), None
        if self.prior is not None and self.starts_at_prior:
            start, logits = self.prior.draw(self.batch_size)
            if self.prior.chains:
                logits = self.lesson.ask(start) if logits is None else logits
                targets = ops.cast(self.prior.targets(start, logits), "int32")
        images = self.inversion.make(self.objective, targets, start, adversarial_weight)
        return Batch(images, self.lesson.answers(images))

    def draw(self, n: int, made=None, examples=None) -> Batch:
        return Batch(*self.lesson.required_memory.draw(n, self.lesson.seed))

    def kept(self, n: int) -> np.ndarray:
        if not int(self.lesson.required_memory.size):
            self._fill_once()
        return self.lesson.required_memory.pick(n, self.lesson.seed)

    @tf.function(autograph=False)
    def _fill_once(self):
        self.fill(ops.zeros(()))

    def available(self, n: int) -> int:
        return max(2, min(n, int(self.lesson.required_memory.size)))

    def made_by_draws(self, n: int, draws: int) -> int:
        return 0

    def made_by_training(self) -> int:
        if self.prior is None:
            return self.inversions * self.batch_size
        drawn = self.from_prior + (self.batch_size if self.starts_at_prior else 0)
        return self.inversions * (self.batch_size + self.prior.made_by_draws(drawn, 1))
