"""The convolutional generator of the data-free distillation papers, for images of any size."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from generators._base import Generator
from generators._checks import check_choice, check_image_shape, check_int, check_number, check_per_channel

# The largest size of the first feature map, which later layers double.
_LARGEST_SEED_MAP = 8

OUTPUTS = ("sigmoid", "normalized", "scaled", "unsquashed")


@keras.saving.register_keras_serializable(package="tfkd")
class ConvGenerator(Generator):
    """A dense layer, then nearest-neighbour upsampling with 3x3 convolutions, then pixels.

    Sizes that are not divisible by the upsampling factor are made larger and cropped at the centre.

    Args:
        image_shape: `(height, width, channels)`, with a height and width of at least 4.
        latent_size: the number of standard-normal values for one image.
        filters: the channels of the first feature maps; the last block has half of them.
        output: "sigmoid" for images in [0, 1]; "normalized" for the unbounded output of DAFL and DFAD:
            tanh, then batch normalization without scale or offset, then `pixel_mean + pixel_std * value`;
            "scaled" for the output of ZSKT: batch normalization with scale and offset, then the same
            formula; "unsquashed" for the output of DFME: batch normalization without scale or offset,
            which the caller squashes into pixels.
        pixel_mean: the mean of the "normalized" output, a number or one per channel, on the [0, 1] scale.
        pixel_std: the standard deviation of this output, a number or one per channel.
        momentum: the momentum of the moving statistics of every batch normalization (0.9 is 0.1 in
            PyTorch), below 1.
        epsilon: the epsilon of the batch normalizations after convolutions. DAFL's code has 0.8 here, where
            a momentum was intended.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Images, float32 `(batch, height, width, channels)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> ConvGenerator((28, 28, 1), latent_size=100).sample(4, seed=0).shape
        TensorShape([4, 28, 28, 1])

    Reference:
        Chen et al., "Data-Free Learning of Student Networks" (DAFL), 2019; Fang et al., "Data-Free
        Adversarial Distillation", 2019. Both double a feature map of a quarter of the image size twice;
        here this map is at most 8 x 8, which is the same for 28 and 32 pixels and affordable for 224.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_size: int = 100,
        filters: int = 128,
        output: str = "sigmoid",
        pixel_mean: float | Sequence[float] = 0.5,
        pixel_std: float | Sequence[float] = 0.25,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        name: str = "conv_generator",
        **kwargs,
    ) -> None:
        channels = check_image_shape(image_shape)[-1]
        super().__init__(image_shape, check_int("latent_size", latent_size), name=name, **kwargs)
        if min(self.image_shape[:2]) < 4:
            raise ValueError(
                "`image_shape` must have a height and width of at least 4. Received: "
                f"image_shape={self.image_shape}. Use DenseGenerator for smaller inputs."
            )
        self.filters = check_int("filters", filters)
        self.output_kind = check_choice("output", output, OUTPUTS)
        self.pixel_mean = check_per_channel("pixel_mean", pixel_mean, channels)
        self.pixel_std = check_per_channel("pixel_std", pixel_std, channels)
        self.momentum = check_number("momentum", momentum, least=0, below=1)
        self.epsilon = check_number("epsilon", epsilon, least=0)
        self.network = self._make_network()
        self.built = True

    def _make_network(self):
        height, width, channels = self.image_shape
        doublings = max(2, math.ceil(math.log2(max(height, width) / _LARGEST_SEED_MAP)))
        scale = 2**doublings
        rows, columns = math.ceil(height / scale), math.ceil(width / scale)
        x = inputs = keras.Input((self.latent_size,), name="latent")
        x = layers.Dense(rows * columns * self.filters, name="project")(x)
        x = layers.Reshape((rows, columns, self.filters), name="map")(x)
        x = self._normalize(1e-5, "map_norm")(x)
        for i in range(doublings):
            x = layers.UpSampling2D(2, interpolation="nearest", name=f"double{i + 1}")(x)
            width_here = self.filters if i < doublings - 1 else max(1, self.filters // 2)
            x = layers.Conv2D(width_here, 3, padding="same", name=f"conv{i + 1}")(x)
            x = self._normalize(self.epsilon, f"norm{i + 1}")(x)
            x = layers.LeakyReLU(0.2, name=f"leaky{i + 1}")(x)
        x = layers.Conv2D(channels, 3, padding="same", name="pixels")(x)
        x = self._to_pixels(x)
        extra_rows, extra_columns = rows * scale - height, columns * scale - width
        if extra_rows or extra_columns:
            x = layers.CenterCrop(height, width, dtype="float32", name="crop")(x)
        return keras.Model(inputs, x, name="network")

    def _to_pixels(self, x):
        if self.output_kind == "sigmoid":
            return layers.Activation("sigmoid", dtype="float32", name="sigmoid")(x)
        if self.output_kind == "normalized":
            x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
        affine = self.output_kind == "scaled"
        x = layers.BatchNormalization(
            momentum=self.momentum,
            epsilon=1e-5,
            center=affine,
            scale=affine,
            dtype="float32",
            name="standardize",
        )(x)
        if self.output_kind == "unsquashed":
            return x
        return layers.Rescaling(self.pixel_std, self.pixel_mean, dtype="float32", name="to_pixels")(x)

    def _normalize(self, epsilon, name):
        return layers.BatchNormalization(momentum=self.momentum, epsilon=epsilon, name=name)

    def call(self, latent, labels=None, training: bool | None = None):
        return self.network(latent, training=training)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "latent_size": self.latent_size,
            "filters": self.filters,
            "output": self.output_kind,
            "pixel_mean": self.pixel_mean,
            "pixel_std": self.pixel_std,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
