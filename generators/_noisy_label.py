"""A convolutional generator that makes images from class embeddings and a noisy layer."""

import keras
import numpy as np
from keras import layers, ops

from generators._base import Draw
from generators._checks import check_int
from generators._convolutional import ConvGenerator


@keras.saving.register_keras_serializable(package="tfkd")
class NoisyLabelGenerator(ConvGenerator):
    """Makes images from class embeddings, each passed through one of several noisy layers.

    The noisy layers make the images of a class differ: image `i` of a batch passes through layer
    `i // classes`, so batches contain the classes in cyclic order. All randomness is in the weights of
    these
    layers, and latents are empty: `draw` redraws the layers, after which earlier draws make other images.

    Args:
        image_shape: `(height, width, channels)`, with a height and width of at least 4.
        embeddings: float `(classes, dimension)`, for example embeddings of the class names from a language
            model; use `default_embeddings` if there are none.
        batch_size: the largest number of images in a batch.
        noise_size: the width of the noisy layers.
        **kwargs: the other arguments of `ConvGenerator`, except `latent_size`.

    Returns (when called on latents `(batch, 0)` and int classes `(batch,)`):
        Images, float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range, or embeddings that are not a matrix of finite numbers.

    Example:
        >>> generator = NoisyLabelGenerator((28, 28, 1), default_embeddings(10), batch_size=20)
        >>> generator.make(generator.draw(2, seed=0, labels=[3, 7])).shape
        TensorShape([2, 28, 28, 1])

    Reference:
        Tran et al., "NAYER: Noisy Layer Data Generation for Efficient and Effective Data-free Knowledge
        Distillation", 2024, who embed "a image of <class>" with CLIP.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        embeddings,
        batch_size: int,
        noise_size: int = 1000,
        name: str = "noisy_label_generator",
        **kwargs,
    ) -> None:
        embeddings = np.asarray(embeddings, "float32")
        if embeddings.ndim != 2 or not np.isfinite(embeddings).all():
            raise ValueError(
                "`embeddings` must be finite numbers (classes, dimension), one row for each class. "
                f"Received: shape {embeddings.shape}."
            )
        super().__init__(image_shape, check_int("noise_size", noise_size), name=name, **kwargs)
        # The network takes the output of the noisy layers; latents are empty.
        self.noise_size, self.latent_size = noise_size, 0
        self.embeddings = embeddings
        classes, dimension = embeddings.shape
        self.classes = classes
        self.batch_size = check_int("batch_size", batch_size)
        self.normalize = layers.BatchNormalization(momentum=self.momentum, epsilon=1e-5, name="normalize")
        self.normalize.build((None, dimension))
        blocks = -(-batch_size // classes)
        self.noise = self.add_weight(
            shape=(blocks, dimension, noise_size), initializer="random_normal", name="noise"
        )
        self.noise_bias = self.add_weight(
            shape=(blocks, 1, noise_size), initializer="zeros", name="noise_bias"
        )

    def redraw_noise(self, seed: int | keras.random.SeedGenerator | None = None) -> None:
        """Redraws the noisy layers from a standard normal distribution.

        Args:
            seed: an int or a `keras.random.SeedGenerator`; None draws a fresh one.
        """
        self.noise.assign(keras.random.normal(self.noise.shape, seed=seed))
        self.noise_bias.assign(ops.zeros_like(self.noise_bias))

    def draw(self, n: int, seed: int | keras.random.SeedGenerator | None = None, labels=None) -> Draw:
        """Redraws the noisy layers for a batch of the given classes, or of all classes in cyclic order.

        Args:
            n: the number of images, at most the batch size.
            seed: an int or a `keras.random.SeedGenerator`; None draws a fresh one.
            labels: int classes `(n,)` to make; None for all classes in cyclic order.

        Returns:
            Empty latents, and labels.

        Raises:
            ValueError: if `n` exceeds the batch size.
        """
        self._check_fits(n)
        self.redraw_noise(seed)
        return super().draw(n, seed, self.labels_in_turn(n) if labels is None else labels)

    def call(self, latent, labels=None, training: bool | None = None):
        """Makes images of the given classes; without labels, of all classes in cyclic order."""
        n = ops.shape(latent)[0]
        self._check_fits(n)
        if labels is None:
            labels = self.labels_in_turn(n)
        known = self.normalize(ops.take(self.embeddings, labels, axis=0), training=training)
        blocks, dimension, _ = self.noise.shape
        room = blocks * self.classes
        filled = ops.concatenate([known, ops.zeros((room, dimension), known.dtype)])[:room]
        mixed = ops.matmul(ops.reshape(filled, (blocks, self.classes, dimension)), self.noise)
        return self.network(ops.reshape(mixed + self.noise_bias, (room, -1))[:n], training=training)

    def _check_fits(self, n):
        # In a graph that takes batches of any size, `n` is not known yet.
        if isinstance(n, int) and n > self.batch_size:
            raise ValueError(f"`n` must be at most the batch size, {self.batch_size}. Received: n={n!r}.")

    def get_config(self) -> dict:
        config = super().get_config()
        del config["latent_size"]
        return {
            **config,
            "embeddings": self.embeddings.tolist(),
            "batch_size": self.batch_size,
            "noise_size": self.noise_size,
        }


def default_embeddings(classes: int) -> np.ndarray:
    """Embeddings for classes without names: one-hot rows, all equally far from each other.

    Args:
        classes: the number of classes.

    Returns:
        float32 `(classes, classes)`.
    """
    return np.eye(classes, dtype="float32")
