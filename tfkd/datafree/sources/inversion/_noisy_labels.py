"""Noisy labels: a generator that is told classes, through a layer of noise that is drawn anew."""

import keras
import tensorflow as tf
from keras import ops

from generators import NoisyLabelGenerator
from tfkd.datafree.sources.inversion._base import Inversion, restart_optimizer
from tfkd.datafree.sources.inversion._latents import redraw


class NoisyLabels(Inversion):
    """NAYER's way: embeddings of the classes, not latents, go through a noisy layer into the generator.

    The noisy layer is drawn anew for each batch, the whole generator after every `life` batches.

    Args:
        *args: of `Inversion`.
        generator: from classes to images.
        optimizer: moves the generator and its noisy layer; starts anew with the generator.
        life: batches before the generator is drawn anew.
        **kwargs: of `Inversion`.
    """

    def __init__(
        self,
        *args,
        generator: NoisyLabelGenerator,
        optimizer: keras.optimizers.Optimizer,
        life: int,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.generator, self.optimizer, self.life = generator, optimizer, life
        self.batches = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="batches"
        )
        self.optimizer.build(self.moved)

    @property
    def moved(self) -> list[keras.Variable]:
        return self.generator.trainable_variables

    def restart(self, start) -> None:
        tf.cond(self.batches.value % self.life == 0, self._renew, lambda: None)
        self.generator.redraw_noise(self.seed)

    def render(self, targets):
        nothing = ops.zeros((self.batch_size, 0))
        return self.generator(nothing, labels=targets, training=True)

    def descend(self, gradients) -> None:
        self.optimizer.apply(gradients, self.moved)

    def conclude(self) -> None:
        self.batches.assign_add(1)

    def _renew(self):
        redraw(self.generator, 0.02, self.seed)
        restart_optimizer(self.optimizer)
