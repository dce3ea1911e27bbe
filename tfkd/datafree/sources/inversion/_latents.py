"""Latents: a new generator and latents for each batch, trained together."""

import keras

from generators import Generator
from tfkd.datafree._replicas import apply_here
from tfkd.datafree.sources.inversion._base import Inversion, restart_optimizer


class Latents(Inversion):
    """The method of CMI: for each batch a new generator and new latents, which are both optimized.

    Args:
        *args: passed to `Inversion`.
        generator: makes the images; its weights are redrawn for each batch.
        optimizer: the optimizer of the generator and the latents; it is reset for each batch.
        deviation: the standard deviation of the generator's new weights; biases and offsets start at 0,
            scales around 1.
        **kwargs: passed to `Inversion`.
    """

    def __init__(
        self,
        *args,
        generator: Generator,
        optimizer: keras.optimizers.Optimizer,
        deviation: float = 0.02,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.generator, self.optimizer, self.deviation = generator, optimizer, deviation
        self.latents = self.add_weight(
            shape=(self.batch_size, generator.latent_size), initializer="zeros", name="latents"
        )
        self.optimizer.build(self.trainables)

    @property
    def trainables(self) -> list[keras.Variable]:
        return [*self.generator.trainable_variables, self.latents]

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [self.optimizer]

    def reset(self, start) -> None:
        redraw(self.generator, self.deviation, self.seed)
        self.latents.assign(self.generator.draw_latent(self.batch_size, self.seed))
        restart_optimizer(self.optimizer)

    def images(self, targets):
        return self.generator(self.latents.value, training=True)

    def apply_gradients(self, gradients) -> None:
        apply_here(self.optimizer, gradients, self.trainables)


def redraw(model: keras.Model, deviation: float, seed: keras.random.SeedGenerator) -> None:
    """Reinitializes a generator: kernels around 0, scales of normalization layers around 1, the rest 0.

    Args:
        model: the generator.
        deviation: the standard deviation of kernels and scales.
        seed: the seed generator.
    """
    for variable in model.trainable_variables:
        kind = variable.name
        if kind in ("kernel", "gamma", "embeddings"):
            middle = 1.0 if kind == "gamma" else 0.0
            variable.assign(keras.random.normal(variable.shape, middle, deviation, seed=seed))
        else:
            variable.assign(keras.ops.zeros_like(variable))
    for variable in model.non_trainable_variables:
        if variable.name.startswith("moving"):
            fresh = keras.ops.ones_like if variable.name == "moving_variance" else keras.ops.zeros_like
            variable.assign(fresh(variable))
