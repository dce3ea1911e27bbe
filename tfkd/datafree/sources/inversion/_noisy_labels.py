"""Noisy labels: a class-conditional generator with a noisy layer that is redrawn for each batch."""

import keras
import tensorflow as tf
from keras import ops

from generators import NoisyLabelGenerator
from tfkd.datafree._replicas import apply_here
from tfkd.datafree.sources.inversion._base import Inversion, restart_optimizer
from tfkd.datafree.sources.inversion._latents import redraw


class NoisyLabels(Inversion):
    """The method of NAYER: class embeddings, not latents, go through a noisy layer into the generator.

    The noisy layer is redrawn for each batch, and the whole generator every `generator_lifetime` batches.

    Args:
        *args: passed to `Inversion`.
        generator: a generator from classes to images.
        optimizer: the optimizer of the generator and its noisy layer; it is reset with the generator.
        generator_lifetime: the number of batches after which the generator is reinitialized.
        **kwargs: passed to `Inversion`.
    """

    def __init__(
        self,
        *args,
        generator: NoisyLabelGenerator,
        optimizer: keras.optimizers.Optimizer,
        generator_lifetime: int,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.generator, self.optimizer, self.generator_lifetime = generator, optimizer, generator_lifetime
        self.batches = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="batches"
        )
        self.optimizer.build(self.trainables)

    @property
    def trainables(self) -> list[keras.Variable]:
        return self.generator.trainable_variables

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [self.optimizer]

    def reset(self, start) -> None:
        tf.cond(self.batches.value % self.generator_lifetime == 0, self._renew, lambda: None)
        self.generator.redraw_noise(self.seed)

    def images(self, targets):
        nothing = ops.zeros((self.batch_size, 0))
        return self.generator(nothing, labels=targets, training=True)

    def apply_gradients(self, gradients) -> None:
        apply_here(self.optimizer, gradients, self.trainables)

    def end_batch(self) -> None:
        self.batches.assign_add(1)

    def _renew(self):
        redraw(self.generator, 0.02, self.seed)
        restart_optimizer(self.optimizer)
