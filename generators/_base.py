"""The one interface of everything that makes inputs: standard-normal latents in, images out."""

from typing import ClassVar

import keras
from keras import ops

from generators._checks import check_image_shape, check_positive


class Generator(keras.Model):
    """Maps standard-normal latents to images; trained networks and procedural priors alike.

    Every generator is a deterministic function of its latent, so the randomness of a run lives in
    one place (`keras.random.SeedGenerator`s of whoever draws the latents). A procedural prior is a
    generator without weights.

    Args:
        image_shape: `(height, width, channels)` of one image.
        latent_size: number of standard-normal values that make one image.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: for a shape that is not three positive integers, or a latent size below 1.
    """

    # True for generators without weights, which need no training.
    procedural: ClassVar[bool] = False

    def __init__(self, image_shape: tuple[int, int, int], latent_size: int, **kwargs) -> None:
        if self.procedural:
            # Half precision would gain next to nothing here and lose smooth gradations.
            kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.image_shape = check_image_shape(image_shape)
        self.latent_size = check_positive("latent_size", latent_size)

    def draw_latent(self, n: int, seed=None):
        """Draws `n` latents.

        Args:
            n: how many.
            seed: an int or a `keras.random.SeedGenerator`; None draws a fresh one.

        Returns:
            A float32 tensor `(n, latent_size)` of standard-normal values.
        """
        return keras.random.normal((n, self.latent_size), seed=seed)

    def sample(self, n: int, seed=None, training: bool = False):
        """Draws `n` images.

        Args:
            n: how many.
            seed: an int or a `keras.random.SeedGenerator`; None draws a fresh one.
            training: whether batch normalization uses the statistics of this batch.

        Returns:
            A float32 tensor `(n, height, width, channels)`.
        """
        return ops.cast(self(self.draw_latent(n, seed), training=training), "float32")

    def compute_output_shape(self, latent_shape):
        return (latent_shape[0], *self.image_shape)

    def get_config(self):
        return {**super().get_config(), "image_shape": list(self.image_shape)}
