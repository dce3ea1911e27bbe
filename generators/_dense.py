"""A multilayer perceptron for vectors and short time series."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from generators._base import Generator
from generators._checks import check_choice, check_int, check_number, check_shape

_LAST_ACTIVATION = {"sigmoid": "sigmoid", "unbounded": "linear"}


@keras.saving.register_keras_serializable(package="tfkd")
class DenseGenerator(Generator):
    """Hidden dense layers with batch normalization and LeakyReLU, then a dense output layer.

    Args:
        image_shape: the shape of one input, such as `(features,)` or `(time, channels)`.
        latent_size: the number of standard-normal values for one input.
        units: the widths of the hidden layers.
        output: "sigmoid" for values in [0, 1]; "unbounded" for any values.
        momentum: the momentum of the moving statistics of every batch normalization (0.9 is 0.1 in
            PyTorch), below 1.
        epsilon: the epsilon of every batch normalization.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Inputs, float32 `(batch, *image_shape)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> DenseGenerator((20,), latent_size=16).sample(4, seed=0).shape
        TensorShape([4, 20])
    """

    def __init__(
        self,
        image_shape: tuple[int, ...],
        latent_size: int = 100,
        units: Sequence[int] = (256, 256),
        output: str = "sigmoid",
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        name: str = "dense_generator",
        **kwargs,
    ) -> None:
        check_shape(image_shape)
        super().__init__(image_shape, check_int("latent_size", latent_size), name=name, **kwargs)
        self.units = tuple(check_int("units", width) for width in units)
        self.output_kind = check_choice("output", output, _LAST_ACTIVATION)
        self.momentum = check_number("momentum", momentum, least=0, below=1)
        self.epsilon = check_number("epsilon", epsilon, least=0)
        self.network = self._make_network()
        self.built = True

    def _make_network(self):
        x = inputs = keras.Input((self.latent_size,), name="latent")
        for i, width in enumerate(self.units, start=1):
            x = layers.Dense(width, name=f"dense{i}")(x)
            x = layers.BatchNormalization(momentum=self.momentum, epsilon=self.epsilon, name=f"norm{i}")(x)
            x = layers.LeakyReLU(0.2, name=f"leaky{i}")(x)
        x = layers.Dense(math.prod(self.image_shape), name="values")(x)
        x = layers.Activation(_LAST_ACTIVATION[self.output_kind], dtype="float32", name="output")(x)
        x = layers.Reshape(self.image_shape, dtype="float32", name="shape")(x)
        return keras.Model(inputs, x, name="network")

    def call(self, latent, labels=None, training: bool | None = None):
        return self.network(latent, training=training)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "latent_size": self.latent_size,
            "units": list(self.units),
            "output": self.output_kind,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
        }
