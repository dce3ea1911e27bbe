"""Means and variances of what enters a teacher's normalizations, image by image."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tfkd import taps
from tfkd._core.asking import in_parts


class Moments(NamedTuple):
    """What one normalization saw of a batch, and what it remembers of the teacher's training.

    Deviations are measured from the remembered mean, which keeps small variances exact. Statistics of a
    batch are means over its images, so a batch may be looked at in parts.

    Args:
        mean: `(batch, channels)`, mean over positions of each image.
        square: `(batch, channels)`, mean over positions of the squared deviation from `stored_mean`.
        stored_mean: `(channels,)`.
        stored_variance: `(channels,)`.
        positions: how many positions an image has.
    """

    mean: Any
    square: Any
    stored_mean: Any
    stored_variance: Any
    positions: int

    def of_batch(self):
        """Mean and biased variance over the batch, both `(channels,)`."""
        mean = ops.mean(self.mean, axis=0)
        return mean, ops.relu(ops.mean(self.square, axis=0) - (mean - self.stored_mean) ** 2)

    def of_images(self):
        """Mean and unbiased variance of each image, both `(batch, channels)`."""
        variance = ops.relu(self.square - (self.mean - self.stored_mean) ** 2)
        return self.mean, variance * (self.positions / max(1, self.positions - 1))


def normalization_taps(model: keras.Model) -> tuple[str, ...]:
    """Taps of what enters each batch normalization of a model, nested ones too.

    Args:
        model: any Keras model.

    Returns:
        Paths with `:input`; empty where there is none.
    """
    return tuple(
        f"{path}:input"
        for path, layer in taps.named_layers(model).items()
        if isinstance(layer, layers.BatchNormalization)
    )


def stored_by(model: keras.Model, tap: str):
    """Mean and variance that the batch normalization behind a tap remembers."""
    layer = taps.resolve(model, tap)
    return layer.moving_mean.value, layer.moving_variance.value, layer.axis


def stored_statistics(model: keras.Model) -> dict[str, tuple]:
    """Mean, variance and axis of each batch normalization of a model, by `normalization_taps`."""
    return {tap: stored_by(model, tap) for tap in normalization_taps(model)}


def is_alive(stored_variance):
    """Which channels were not dead in training: variance above a thousandth of the layer's mean."""
    return stored_variance > 1e-3 * ops.mean(stored_variance) + 1e-10


def recorded(record: taps.Record, stored: Mapping[str, tuple]) -> list[Moments]:
    """The moments of every call of every tapped layer in a recorded pass.

    Args:
        record: what the taps saw.
        stored: mean, variance and axis that is compared with, by tap.
    """
    return [moments(values, *kept) for tap, kept in stored.items() for values in record.calls[tap]]


def observe(teacher: keras.Model, images, stored: Mapping[str, tuple]) -> tuple[Any, list[Moments]]:
    """The teacher's float32 logits, in inference mode, and the moments of what tapped layers saw meanwhile.

    Args:
        teacher: the teacher.
        images: what it is given.
        stored: mean, variance and axis that is compared with, by tap; empty for the logits alone.
    """
    with taps.record(teacher, stored) as record:
        logits = ops.cast(teacher(images, training=False), "float32")
    return logits, recorded(record, stored)


def moments(values, stored_mean, stored_variance, axis: int = -1) -> Moments:
    """The moments of what a layer saw in one call.

    Args:
        values: `(batch, ..., channels)`.
        stored_mean: `(channels,)`.
        stored_variance: `(channels,)`.
        axis: where the channels are.

    Returns:
        The moments in float32.
    """
    values = ops.moveaxis(ops.cast(values, "float32"), axis, -1)
    stored_mean, stored_variance = (ops.cast(v, "float32") for v in (stored_mean, stored_variance))
    over = tuple(range(1, len(values.shape) - 1))
    positions = 1
    for place in over:
        positions *= values.shape[place]
    return Moments(
        ops.mean(values, axis=over) if over else values,
        ops.mean((values - stored_mean) ** 2, axis=over) if over else (values - stored_mean) ** 2,
        stored_mean,
        stored_variance,
        positions,
    )


def measure(model: keras.Model, images, layer_taps) -> Mapping[str, tuple]:
    """Means and variances of inner features over given images, for teachers that remember none.

    A vision transformer or a network with folded normalizations has no statistics of its training data;
    those of a few real images (or of others that resemble them) can stand in. Those of a layer that is
    called several times are of all its calls together.

    Args:
        model: the teacher.
        images: `(n, height, width, channels)`.
        layer_taps: paths of layers, tokens or maps with channels last, `:input` for inputs.

    Returns:
        `{tap: (mean, variance)}`, arrays `(channels,)`, for `BatchStatistics(given=...)`.

    Example:
        >>> given = measure(vit, few_images, ["block2", "block4"])
        >>> objectives.BatchStatistics(10.0, given=given)
    """
    counts = dict.fromkeys(layer_taps, 0)
    sums, squares = (dict.fromkeys(layer_taps, np.zeros(())) for _ in range(2))
    for part in in_parts(model, images):
        with taps.record(model, layer_taps) as seen:
            model(part, training=False)
        for tap in layer_taps:
            for call in seen.calls[tap]:
                values = np.asarray(ops.cast(call, "float32"), "float64")
                over = tuple(range(values.ndim - 1))
                counts[tap] += values[..., 0].size
                sums[tap] = sums[tap] + values.sum(over)
                squares[tap] = squares[tap] + (values**2).sum(over)
    means = {tap: sums[tap] / counts[tap] for tap in layer_taps}
    return {
        tap: (
            means[tap].astype("float32"),
            np.maximum(squares[tap] / counts[tap] - means[tap] ** 2, 0).astype("float32"),
        )
        for tap in layer_taps
    }
