"""Independent values, uniform or normal, each in a range of its own: untrained priors for vectors."""

from typing import Any

import keras
import numpy as np
from keras import layers

from generators._base import Generator
from generators._checks import check_shape
from generators._distributions import uniform

# So many standard deviations from the mean lie the ends of what a feature is taken to be.
_DEVIATIONS = 3.0
# So many from the mean lie 19 of 20 normal values.
_MOST = 2.0


@keras.saving.register_keras_serializable(package="tfkd")
class Uniform(Generator):
    """Each value by itself, evenly from its range; nothing to train.

    Refining inputs and remembering them as uint8 keep them in [0, 1], so recipes that do either refuse
    other ranges. A teacher of features in such ranges is best loaded by a `mean` and a `std` that
    bring them there; else give `refine_steps=0` to the recipe.

    Args:
        image_shape: shape of one input, such as `(features,)`.
        low: a number, or one for each value, of a shape that goes with `image_shape`.
        high: likewise, nowhere below `low`.
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
    """Each value by itself, normal about its mean; nothing to train.

    What refines or remembers inputs treats them as it does those of `Uniform`.

    Args:
        image_shape: shape of one input, such as `(features,)`.
        mean: a number, or one for each value, of a shape that goes with `image_shape`.
        std: standard deviation, likewise, at least 0.
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
    """Where a model's features lie, by the `keras.layers.Normalization` that it begins with.

    Args:
        model: a model with one such layer, which has been adapted or given its statistics.

    Returns:
        `(low, high)`, float32, three standard deviations below and above the mean of each feature.

    Raises:
        ValueError: if the model has no such layer, several of them, or one that inverts.

    Example:
        >>> low, high = feature_ranges(teacher)
        >>> recipe = tfkd.datafree.Procedural(
        ...     prior=tfkd.generators.Uniform(teacher.input_shape[1:], low, high), refine_steps=0
        ... )
    """
    found = list(_normalizations(model))
    if len(found) != 1 or found[0].invert:
        kinds = f"{len(found)} of them" if len(found) != 1 else "one that inverts"
        raise ValueError(
            f"`model`: {model.name!r} must have one keras.layers.Normalization, which tells where its "
            f"features lie. Received: {kinds}. Say `low` and `high` of tfkd.generators.Uniform yourself."
        )
    # They have axes of length 1 in front.
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
    """Numbers that go with a shape."""
    try:
        values = np.asarray(given, "float32")
        fits = np.broadcast_shapes(values.shape, shape) == shape and np.isfinite(values).all()
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must be finite numbers of a shape that goes with {shape}. Received: {given!r}."
        )
    return values
