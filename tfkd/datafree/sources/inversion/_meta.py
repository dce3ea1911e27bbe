"""Meta: a meta-learned generator that adapts to each batch in a few steps."""

import keras
from keras import ops

from generators import Generator
from tfkd.datafree._replicas import apply_here
from tfkd.datafree.sources.inversion._base import Inversion, restart_optimizer


class Meta(Inversion):
    """The method of Fast: a copy of the meta generator makes a batch, from which the meta generator learns.

    After the steps on a batch, the meta generator is updated with the sum of their gradients (FOMAML) or
    with the difference between its weights and the copy's (Reptile).

    Args:
        *args: passed to `Inversion`.
        generator: the meta generator.
        fast_generator: another generator of the same shape, the copy.
        optimizer: the optimizer of the copy; it is reset for each batch.
        latent_optimizer: the optimizer of the latents; it is reset for each batch.
        meta_optimizer: the optimizer of the meta generator.
        reptile: whether to use Reptile instead of FOMAML.
        reset_first_layer_at: the batch before which the meta generator's first layer is reinitialized; None
            for never.
        **kwargs: passed to `Inversion`.
    """

    # Scales Reptile's difference to the size of a gradient; from the authors' code.
    REPTILE_SCALE = 67.0

    def __init__(
        self,
        *args,
        generator: Generator,
        fast_generator: Generator,
        optimizer: keras.optimizers.Optimizer,
        latent_optimizer: keras.optimizers.Optimizer,
        meta_optimizer: keras.optimizers.Optimizer,
        reptile: bool = False,
        reset_first_layer_at: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.generator, self.fast_generator = generator, fast_generator
        self.optimizer, self.latent_optimizer = optimizer, latent_optimizer
        self.meta_optimizer, self.reptile, self.reset_first_layer_at = (
            meta_optimizer,
            reptile,
            reset_first_layer_at,
        )
        self.latents = self.add_weight(
            shape=(self.batch_size, generator.latent_size), initializer="zeros", name="latents"
        )
        kept = {"initializer": "zeros", "trainable": False}
        self.batches = self.add_weight(shape=(), dtype="int64", name="batches", **kept)
        self.sums = [
            self.add_weight(shape=v.shape, name=f"sum_{i}", **kept)
            for i, v in enumerate(() if reptile else generator.trainable_variables)
        ]
        self.optimizer.build(fast_generator.trainable_variables)
        self.latent_optimizer.build([self.latents])
        self.meta_optimizer.build(generator.trainable_variables)

    @property
    def trainables(self) -> list[keras.Variable]:
        return [*self.fast_generator.trainable_variables, self.latents]

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [self.optimizer, self.latent_optimizer, self.meta_optimizer]

    def reset(self, start) -> None:
        if self.reset_first_layer_at is not None:
            self._reset_first_layer()
        for ours, meta in zip(self.fast_generator.variables, self.generator.variables, strict=True):
            ours.assign(meta)
        for total in self.sums:
            total.assign(ops.zeros_like(total))
        self.latents.assign(self.generator.draw_latent(self.batch_size, self.seed))
        restart_optimizer(self.optimizer)
        restart_optimizer(self.latent_optimizer)

    def images(self, targets):
        return self.fast_generator(self.latents.value, training=True)

    def apply_gradients(self, gradients) -> None:
        *of_copy, of_latents = gradients
        for total, gradient in zip(self.sums, of_copy if self.sums else (), strict=True):
            total.assign_add(gradient)
        apply_here(self.optimizer, of_copy, self.fast_generator.trainable_variables)
        apply_here(self.latent_optimizer, [of_latents], [self.latents])

    def end_batch(self) -> None:
        meta, ours = self.generator.trainable_variables, self.fast_generator.trainable_variables
        if self.reptile:
            ways = [self.REPTILE_SCALE * (m.value - o.value) for m, o in zip(meta, ours, strict=True)]
        else:
            ways = [total.value for total in self.sums]
        apply_here(self.meta_optimizer, ways, meta)
        # Gradients do not update the moving statistics, which the generator needs in inference.
        for m, o in zip(
            self.generator.non_trainable_variables, self.fast_generator.non_trainable_variables, strict=True
        ):
            m.assign(o)
        self.batches.assign_add(1)

    def _reset_first_layer(self):
        """Reinitializes the first layer and the scales of the first normalization, once."""
        now = self.batches.value == self.reset_first_layer_at
        kernel = next(v for v in self.generator.trainable_variables if v.name == "kernel")
        scales = next(v for v in self.generator.trainable_variables if v.name == "gamma")
        for variable, middle in ((kernel, 0.0), (scales, 1.0)):
            fresh = keras.random.normal(variable.shape, middle, 0.02, seed=self.seed)
            variable.assign(ops.where(now, fresh, variable.value))
