"""A convolutional generator that knows only class embeddings, behind a layer of noise."""

import keras
import numpy as np
from keras import layers, ops

from generators._checks import check_positive
from generators._convolutional import ConvGenerator


@keras.saving.register_keras_serializable(package="tfkd")
class NoisyLabelGenerator(ConvGenerator):
    """Images from embeddings of their classes, each through one of several noisy layers.

    The noisy layers are what makes two images of a class differ: image `i` of a batch goes through layer
    `i // classes`, so batches hold each class in turn. `redraw_noise` draws the layers anew.

    Args:
        image_shape: `(height, width, channels)`, any sides of at least 4.
        embeddings: float `(classes, dimension)`: of the class names from a language model, say; what
            `default_embeddings` gives where there are none.
        batch_size: images in a batch.
        noise_size: width of the noisy layers.
        **kwargs: the other arguments of `ConvGenerator`, but for `latent_size`.

    Returns (when called on int classes `(batch,)`):
        Images, float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range, or embeddings that are no matrix of finite numbers.

    Example:
        >>> generator = NoisyLabelGenerator((28, 28, 1), default_embeddings(10), batch_size=20)
        >>> generator.redraw_noise(keras.random.SeedGenerator(0))
        >>> generator(np.arange(20) % 10).shape
        TensorShape([20, 28, 28, 1])

    Reference:
        Tran et al., "NAYER: Noisy Layer Data Generation for Efficient and Effective Data-free Knowledge
        Distillation", 2024, who embed "a image of <class>" with CLIP.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
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
        super().__init__(image_shape, check_positive("noise_size", noise_size), name=name, **kwargs)
        self.embeddings = embeddings
        self.batch_size = check_positive("batch_size", batch_size)
        classes, dimension = embeddings.shape
        self.normalize = layers.BatchNormalization(momentum=self.momentum, epsilon=1e-5, name="normalize")
        self.normalize.build((None, dimension))
        blocks = -(-batch_size // classes)
        self.noise = self.add_weight(
            shape=(blocks, dimension, noise_size), initializer="random_normal", name="noise"
        )
        self.noise_bias = self.add_weight(
            shape=(blocks, 1, noise_size), initializer="zeros", name="noise_bias"
        )

    def redraw_noise(self, seed: keras.random.SeedGenerator) -> None:
        """Draws the noisy layers anew, from a standard normal distribution."""
        self.noise.assign(keras.random.normal(self.noise.shape, seed=seed))
        self.noise_bias.assign(ops.zeros_like(self.noise_bias))

    def sample(self, n: int, seed=None, training: bool = False):
        """Draws a batch of images of each class in turn, through layers of new noise.

        Args:
            n: how many, at most the batch size.
            seed: a `keras.random.SeedGenerator`, an int, or None for a fresh one.
            training: whether batch normalization uses the statistics of this batch.

        Returns:
            A float32 tensor `(n, height, width, channels)`.

        Raises:
            ValueError: if more are asked for than a batch has.
        """
        if n > self.batch_size:
            raise ValueError(f"`n` must be at most the batch size, {self.batch_size}. Received: n={n!r}.")
        known = isinstance(seed, keras.random.SeedGenerator)
        self.redraw_noise(seed if known else keras.random.SeedGenerator(seed))
        labels = np.arange(self.batch_size) % len(self.embeddings)
        return ops.cast(self(labels, training=training), "float32")[:n]

    def call(self, labels, training=None):
        classes = len(self.embeddings)
        known = self.normalize(ops.take(self.embeddings, labels, axis=0), training=training)
        blocks = self.noise.shape[0]
        missing = blocks * classes - self.batch_size
        known = ops.reshape(ops.pad(known, ((0, missing), (0, 0))), (blocks, classes, -1))
        mixed = ops.matmul(known, self.noise) + self.noise_bias
        return self.network(
            ops.reshape(mixed, (-1, self.latent_size))[: self.batch_size], training=training
        )

    def get_config(self):
        config = super().get_config()
        config["noise_size"] = config.pop("latent_size")
        return {**config, "embeddings": self.embeddings.tolist(), "batch_size": self.batch_size}


def default_embeddings(classes: int) -> np.ndarray:
    """Embeddings of classes of which nothing is known: one-hot rows, as far from each other as can be.

    Args:
        classes: how many classes there are.

    Returns:
        float32 `(classes, classes)`.
    """
    return np.eye(classes, dtype="float32")
