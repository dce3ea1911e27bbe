"""Pixels: images whose pixels are optimized directly."""

import keras
import numpy as np
from keras import ops

from tfkd.datafree._replicas import apply_here
from tfkd.datafree.sources.inversion._base import Inversion, restart_optimizer


class Pixels(Inversion):
    """The method of DeepInversion: gradient steps on the pixels.

    Pixels are optimized on a normalized scale, `(pixel - pixel_mean) / pixel_std`, to which published
    learning rates and weights refer.

    Args:
        *args: passed to `Inversion`.
        optimizer: the optimizer of the pixels; its state and schedule are reset for each batch.
        pixel_mean: the pixel value, in [0, 1], that is 0 on the normalized scale.
        pixel_std: the change of the pixel value that is 1 on the normalized scale.
        noise: the standard deviation of the initial noise on the normalized scale.
        clip: whether pixels are clipped to [0, 1].
        **kwargs: passed to `Inversion`.
    """

    def __init__(
        self,
        *args,
        optimizer: keras.optimizers.Optimizer,
        pixel_mean: float | tuple[float, ...] = 0.5,
        pixel_std: float = 0.25,
        noise: float = 1.0,
        clip: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.pixel_mean, self.pixel_std, self.noise, self.clip = pixel_mean, pixel_std, noise, clip
        self.canvas = self.add_weight(
            shape=(self.batch_size, *self.input_shape), initializer="zeros", name="canvas"
        )
        self.optimizer = optimizer
        self.optimizer.build(self.trainables)

    @property
    def trainables(self) -> list[keras.Variable]:
        return [self.canvas]

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        return [self.optimizer]

    def reset(self, start) -> None:
        if start is None:
            self.canvas.assign(self.noise * keras.random.normal(self.canvas.shape, seed=self.seed))
        else:
            self.canvas.assign((start - self.pixel_mean) / self.pixel_std)
        self._clip()
        restart_optimizer(self.optimizer)

    def images(self, targets):
        return self.pixel_mean + self.pixel_std * self.canvas.value

    def apply_gradients(self, gradients) -> None:
        apply_here(self.optimizer, gradients, self.trainables)
        self._clip()

    def _clip(self):
        if self.clip:
            limits = (
                np.float32((limit - np.array(self.pixel_mean)) / self.pixel_std) for limit in (0.0, 1.0)
            )
            self.canvas.assign(ops.clip(self.canvas.value, *limits))
