"""Inversion: a batch of images made by gradient steps on whatever they are made from."""

from abc import abstractmethod

import keras
import tensorflow as tf
from keras import ops

from tfkd._core.keras_internals import learning_rate


class Inversion(keras.Layer):
    """Makes batches of images for target classes; subclasses say from what.

    What a batch is made from (pixels, latents, a generator) is held in variables and drawn anew for each
    batch; the best images of its steps, by the total of the objectives, are what comes out.

    Args:
        image_shape: `(height, width, channels)`.
        batch_size: images in a batch.
        steps: gradient steps on a batch.
        seed: the `keras.random.SeedGenerator` that all randomness comes from.
        **kwargs: passed to `keras.Layer`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        batch_size: int,
        steps: int,
        seed: keras.random.SeedGenerator,
        **kwargs,
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.image_shape, self.batch_size, self.steps = tuple(image_shape), batch_size, steps
        # In a tuple, so that it is tracked where it belongs and not here too.
        self._random = (seed,)
        self.built = True

    @property
    def seed(self) -> keras.random.SeedGenerator:
        """Where all randomness comes from."""
        return self._random[0]

    @property
    @abstractmethod
    def moved(self) -> list[keras.Variable]:
        """The variables that gradient steps change."""

    @abstractmethod
    def restart(self, start) -> None:
        """Draws anew what a batch is made from; `start` are images to begin with, or None."""

    @abstractmethod
    def render(self, targets):
        """The images as they are now: float32 `(batch, height, width, channels)`."""

    @abstractmethod
    def descend(self, gradients) -> None:
        """One gradient step."""

    def conclude(self) -> None:
        """What is done when the steps on a batch are done."""

    def make(self, critic, targets, start=None, adversary=1.0):
        """Makes one batch.

        Args:
            critic: judges the images, see `tfkd.datafree.objectives._image_objective.Critic`.
            targets: int classes `(batch,)`.
            start: images to begin with, where there are some; None for noise.
            adversary: factor of the objectives that ask the student.

        Returns:
            The images without gradient.
        """
        self.restart(start)

        def step(i, least, best):
            with tf.GradientTape() as tape:
                images = self.render(targets)
            total, slope, of_objectives = critic.judge(images, targets, adversary)
            scale = _scale_for(slope)
            gradients = tape.gradient(images, self.moved, output_gradients=scale * slope)
            self.descend([gradient / scale for gradient in gradients])
            critic.learn(of_objectives)
            better = total < least
            return i + 1, ops.where(better, total, least), ops.where(better, images, best)

        nothing = ops.zeros((self.batch_size, *self.image_shape))
        _, _, best = tf.while_loop(
            lambda i, *_: i < self.steps,
            step,
            (0, float("inf"), nothing),
            parallel_iterations=1,
            maximum_iterations=self.steps,
        )
        critic.finish()
        self.conclude()
        return tf.stop_gradient(best)


def _scale_for(slope):
    """A power of two that makes the steepest slope about 1/64, which half precision neither loses nor,
    summed over a batch, overflows with; float32 does not notice it."""
    steepest = ops.maximum(ops.max(ops.abs(slope)), 1e-30)
    return 2.0 ** ops.clip(ops.floor(-ops.log2(steepest)) - 6, -24.0, 60.0)


def restart_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Makes a built optimizer forget all steps; its learning rate stays."""
    for variable in optimizer.variables:
        if variable is not learning_rate(optimizer):
            variable.assign(ops.zeros_like(variable))
