"""Inversion: a batch of images made by gradient steps on whatever they are made from."""

from abc import abstractmethod
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.keras_internals import learning_rate
from tfkd.datafree._replicas import assign_here


class Inversion(keras.Layer):
    """Makes batches of images for target classes; subclasses say from what.

    What a batch is made from (pixels, latents, a generator) is held in variables and redrawn for each
    batch; the best images of its steps, by the total of the objectives, are what comes out.

    Args:
        input_shape: of one image.
        batch_size: images in a batch.
        steps: gradient steps on a batch.
        seed: the `keras.random.SeedGenerator` that all randomness comes from.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        batch_size: int,
        steps: int,
        seed: keras.random.SeedGenerator,
        **kwargs,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.input_shape, self.batch_size, self.steps = tuple(input_shape), batch_size, steps
        # In a tuple, so that it is tracked where it belongs and not here too.
        self._random = (seed,)
        self.built = True

    @property
    def seed(self) -> keras.random.SeedGenerator:
        """Where all randomness comes from."""
        return self._random[0]

    @property
    @abstractmethod
    def trainables(self) -> list[keras.Variable]:
        """The variables that gradient steps change."""

    @property
    @abstractmethod
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """What moves them."""

    @abstractmethod
    def reset(self, start) -> None:
        """Redraws what a batch is made from; `start` are images to begin with, or None."""

    @abstractmethod
    def images(self, targets) -> Any:
        """The images as they are now: float32 `(batch, ...)`."""

    @abstractmethod
    def apply_gradients(self, gradients) -> None:
        """One gradient step."""

    def end_batch(self) -> None:
        """What is done when the steps on a batch are done."""

    def make(self, objective, targets, start=None, adversarial_weight=1.0):
        """Makes one batch.

        Args:
            objective: judges the images, see `tfkd.datafree.objectives._image_objective.ImageObjective`.
            targets: what the images are made for, `(batch,)`.
            start: images to begin with, where there are some; None for noise.
            adversarial_weight: multiplier of the objectives that depend on the student.

        Returns:
            The images without gradient.
        """
        self.reset(start)

        def step(i, least, best):
            with tf.GradientTape() as tape:
                images = self.images(targets)
            total, gradient, of_objectives = objective.value_and_gradients(
                images, targets, adversarial_weight
            )
            scale = _scale_for(gradient)
            gradients = tape.gradient(images, self.trainables, output_gradients=scale * gradient)
            self.apply_gradients([gradient / scale for gradient in gradients])
            objective.learn(of_objectives)
            better = total < least
            return i + 1, ops.where(better, total, least), ops.where(better, images, best)

        nothing = ops.zeros((self.batch_size, *self.input_shape))
        _, _, best = tf.while_loop(
            lambda i, *_: i < self.steps,
            step,
            (0, float("inf"), nothing),
            parallel_iterations=1,
            maximum_iterations=self.steps,
        )
        objective.finish()
        self.end_batch()
        return tf.stop_gradient(best)


def _scale_for(gradient):
    """A power of two that makes the steepest gradient about 1/64, which half precision neither loses nor,
    summed over a batch, overflows with; float32 does not notice it."""
    steepest = ops.maximum(ops.max(ops.abs(gradient)), 1e-30)
    return 2.0 ** ops.clip(ops.floor(-ops.log2(steepest)) - 6, -24.0, 60.0)


def restart_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes a built optimizer forget all steps; its learning rate stays."""
    for variable in optimizer.variables:
        if variable is not learning_rate(optimizer):
            assign_here(variable, ops.zeros_like(variable))
