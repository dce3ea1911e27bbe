"""A class-conditional convolutional generator."""

import keras
from keras import layers, ops

from generators._checks import check_int
from generators._convolutional import ConvGenerator


@keras.saving.register_keras_serializable(package="tfkd")
class ConditionalGenerator(ConvGenerator):
    """`ConvGenerator` whose latents are multiplied by a trained embedding of the class.

    Args:
        image_shape: `(height, width, channels)`, with a height and width of at least 4.
        classes: the number of classes.
        latent_size: the number of standard-normal values for one image.
        **kwargs: the other arguments of `ConvGenerator`.

    Returns (when called on latents and int classes):
        Images, float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> generator = ConditionalGenerator((28, 28, 1), classes=10)
        >>> generator(generator.draw_latent(4, seed=0), labels=[3, 1, 4, 1]).shape
        TensorShape([4, 28, 28, 1])

    Reference:
        Xu et al., "Generative Low-bitwidth Data Free Quantization" (GDFQ), 2020.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        classes: int,
        latent_size: int = 100,
        name: str = "conditional_generator",
        **kwargs,
    ) -> None:
        super().__init__(image_shape, latent_size, name=name, **kwargs)
        self.classes = check_int("classes", classes)
        self.embed = layers.Embedding(
            classes, latent_size, keras.initializers.RandomNormal(stddev=1.0), name="embed"
        )
        self.embed.build((None,))

    def call(self, latent, labels=None, training: bool | None = None):
        """Makes images of the given classes; without labels, of all classes in cyclic order."""
        if labels is None:
            labels = self.labels_in_turn(ops.shape(latent)[0])
        return self.network(latent * self.embed(ops.convert_to_tensor(labels)), training=training)

    def get_config(self) -> dict:
        return {**super().get_config(), "classes": self.classes}
