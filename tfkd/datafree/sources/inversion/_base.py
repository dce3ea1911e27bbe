"""Inversion: the base class of methods that make a batch of images by gradient steps."""

from abc import abstractmethod
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.keras_internals import learning_rate
from tfkd.datafree._replicas import assign_here


class Inversion(keras.Layer):
    """Makes batches of images for target classes; subclasses define what is optimized.

    The optimized values (pixels, latents, a generator) are variables that are redrawn for each batch. The
    result is the best batch of all steps, by the total objective.

    Args:
        input_shape: the shape of one image.
        batch_size: the number of images in a batch.
        steps: the number of gradient steps on a batch.
        seed: the `keras.random.SeedGenerator` for all random numbers.
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
        # In a tuple, so that Keras does not track it here too.
        self._random = (seed,)
        self.built = True

    @property
    def seed(self) -> keras.random.SeedGenerator:
        """The seed generator for all random numbers."""
        return self._random[0]

    @property
    @abstractmethod
    def trainables(self) -> list[keras.Variable]:
        """The variables that gradient steps change."""

    @property
    @abstractmethod
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """The optimizers of these variables."""

    @abstractmethod
    def reset(self, start) -> None:
        """Redraws the optimized values; `start` are initial images, or None."""

    @abstractmethod
    def images(self, targets) -> Any:
        """The current images, float32 `(batch, ...)`."""

    @abstractmethod
    def apply_gradients(self, gradients) -> None:
        """Takes one gradient step."""

    def end_batch(self) -> None:
        """Called after all steps on a batch."""

    def make(self, objective, targets, start=None, adversarial_weight=1.0):
        """Makes one batch.

        Args:
            objective: the objective; see `tfkd.datafree.objectives._image_objective.ImageObjective`.
            targets: the target classes of the images, `(batch,)`.
            start: the initial images; None for noise.
            adversarial_weight: the multiplier of student-dependent objectives.

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
    """A power of two that scales the steepest gradient to about 1/64.

    In half precision this neither underflows nor, summed over a batch, overflows; in float32 it is exact.
    """
    steepest = ops.maximum(ops.max(ops.abs(gradient)), 1e-30)
    return 2.0 ** ops.clip(ops.floor(-ops.log2(steepest)) - 6, -24.0, 60.0)


def restart_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Resets the state of a built optimizer, except for its learning rate."""
    for variable in optimizer.variables:
        if variable is not learning_rate(optimizer):
            assign_here(variable, ops.zeros_like(variable))
