"""Independent uniform or normal values, each with its own range: untrained priors for vectors."""

from typing import Any

import keras
import numpy as np
from keras import layers

from generators._base import Generator
from generators._checks import check_shape
from generators._distributions import uniform

# The ends of a feature's assumed range, in standard deviations from the mean.
_DEVIATIONS = 3.0
# 19 of 20 normal values lie within this many standard deviations of the mean.
_MOST = 2.0


@keras.saving.register_keras_serializable(package="tfkd")
class Uniform(Generator):
    """Independent values, each uniform in its range; nothing to train.

    Recipes that refine inputs, or store them as uint8, need inputs in [0, 1] and reject other ranges. For
    features in other ranges, preferably load the teacher with a `mean` and a `std` that scale them to
    [0, 1]; otherwise set `refine_steps=0` in the recipe.

    Args:
        image_shape: the shape of one input, such as `(features,)`.
        low: the lowest value, a number or an array that broadcasts to `image_shape`.
        high: the highest value, a number or an array that broadcasts to `image_shape`; nowhere below `low`.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        float32 `(batch, *image_shape)`.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> Uniform((3,), low=[0, 0, 18], high=[1, 5, 99]).sample(4, seed=0).shape
        TensorShape([4, 3])
        >>> Uniform((3,), *feature_ranges(teacher)).sample(4, seed=0).shape
        TensorShape([4, 3])
    """

    procedural = True

    def __init__(
        self, image_shape: tuple[int, ...], low: Any = 0.0, high: Any = 1.0, name: str = "uniform", **kwargs
    ) -> None:
        shape = check_shape(image_shape)
        super().__init__(image_shape, int(np.prod(shape)), name=name, **kwargs)
        self.low, self.high = _values("low", low, shape), _values("high", high, shape)
        if not (self.low <= self.high).all():
            raise ValueError(
                "`high` must nowhere be below `low`. Received: "
                f"low={self.low.tolist()}, high={self.high.tolist()}."
            )
        self.in_unit_range = bool(self.low.min() >= 0 and self.high.max() <= 1)
        self.built = True

    def call(self, latent, labels=None, training: bool | None = None):
        values = keras.ops.reshape(uniform(latent), (-1, *self.image_shape))
        return self.low + (self.high - self.low) * values

    def get_config(self) -> dict:
        return {**super().get_config(), "low": self.low.tolist(), "high": self.high.tolist()}


@keras.saving.register_keras_serializable(package="tfkd")
class Gaussian(Generator):
    """Independent, normally distributed values; nothing to train.

    Recipes that refine or store inputs have the same limits as for `Uniform`.

    Args:
        image_shape: the shape of one input, such as `(features,)`.
        mean: the mean, a number or an array that broadcasts to `image_shape`.
        std: the standard deviation, a number or an array that broadcasts to `image_shape`; at least 0.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        float32 `(batch, *image_shape)`, without bounds.

    Raises:
        ValueError: for an argument out of range.

    Example:
        >>> Gaussian((2,), mean=[38.0, 0.5], std=[13.0, 0.1]).sample(4, seed=0).shape
        TensorShape([4, 2])
    """

    procedural = True

    def __init__(
        self,
        image_shape: tuple[int, ...],
        mean: Any = 0.5,
        std: Any = 0.2,
        name: str = "gaussian",
        **kwargs,
    ) -> None:
        shape = check_shape(image_shape)
        super().__init__(image_shape, int(np.prod(shape)), name=name, **kwargs)
        self.mean, self.std = _values("mean", mean, shape), _values("std", std, shape)
        if not (self.std >= 0).all():
            raise ValueError(f"`std` must be at least 0 everywhere. Received: std={self.std.tolist()}.")
        low, high = self.mean - _MOST * self.std, self.mean + _MOST * self.std
        self.in_unit_range = bool(low.min() >= 0 and high.max() <= 1)
        self.built = True

    def call(self, latent, labels=None, training: bool | None = None):
        return self.mean + self.std * keras.ops.reshape(latent, (-1, *self.image_shape))

    def get_config(self) -> dict:
        return {**super().get_config(), "mean": self.mean.tolist(), "std": self.std.tolist()}


def feature_ranges(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """The ranges of a model's features, from its `keras.layers.Normalization` layer.

    Args:
        model: a model with one such layer, which has been adapted or given its statistics.

    Returns:
        `(low, high)`, float32, three standard deviations below and above the mean of each feature.

    Raises:
        ValueError: if the model has no such layer, several of them, or one with `invert=True`.

    Example:
        >>> low, high = feature_ranges(teacher)
        >>> recipe = tfkd.datafree.Procedural(
        ...     prior=tfkd.generators.Uniform(teacher.input_shape[1:], low, high), refine_steps=0
        ... )
    """
    found = list(_normalizations(model))
    if len(found) != 1 or found[0].invert:
        kinds = f"{len(found)} of them" if len(found) != 1 else "one with invert=True"
        raise ValueError(
            f"`model`: {model.name!r} must have one keras.layers.Normalization, which gives the ranges of "
            f"its features. Received: {kinds}. Pass `low` and `high` to tfkd.generators.Uniform yourself."
        )
    # The statistics have leading axes of length 1.
    mean, deviation = (np.asarray(each, "float32") for each in (found[0].mean, np.sqrt(found[0].variance)))
    mean, deviation = mean[0], deviation[0]
    return mean - _DEVIATIONS * deviation, mean + _DEVIATIONS * deviation


def _normalizations(model):
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            yield layer
        elif isinstance(layer, keras.Model):
            yield from _normalizations(layer)


def _values(name, given, shape):
    """An array of numbers that broadcasts to a shape."""
    try:
        values = np.asarray(given, "float32")
        fits = np.broadcast_shapes(values.shape, shape) == shape and np.isfinite(values).all()
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must be finite numbers that broadcast to shape {shape}. Received: {given!r}."
        )
    return values
