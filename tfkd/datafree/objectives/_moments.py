"""Means and variances of the inputs of a teacher's normalization layers, for each image."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from tfkd import taps
from tfkd._core.asking import in_parts


class Moments(NamedTuple):
    """The statistics of a normalization layer's input for a batch, and those stored in training.

    Deviations are measured from the stored mean, which keeps small variances exact. Batch statistics are
    means over images, so a batch may be processed in parts.

    Args:
        mean: `(batch, channels)`, the mean over positions of each image.
        square: `(batch, channels)`, the mean over positions of the squared deviation from `stored_mean`.
        stored_mean: `(channels,)`.
        stored_variance: `(channels,)`.
        positions: the number of positions in an image.
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
    """The taps of the inputs of all batch normalization layers in a model, nested ones too.

    Args:
        model: any Keras model.

    Returns:
        Paths with `:input`; empty if there are no such layers.
    """
    return tuple(
        f"{path}:input"
        for path, layer in taps.named_layers(model).items()
        if isinstance(layer, layers.BatchNormalization)
    )


def stored_by(model: keras.Model, tap: str):
    """The mean, variance and axis of the batch normalization layer at a tap."""
    layer = taps.resolve(model, tap)
    return layer.moving_mean.value, layer.moving_variance.value, layer.axis


def stored_statistics(model: keras.Model) -> dict[str, tuple]:
    """The mean, variance and axis of each batch normalization layer in a model, by tap."""
    return {tap: stored_by(model, tap) for tap in normalization_taps(model)}


def is_alive(stored_variance):
    """Which channels were not dead in training: variance above a thousandth of the layer's mean."""
    return stored_variance > 1e-3 * ops.mean(stored_variance) + 1e-10


def recorded(record: taps.Record, stored: Mapping[str, tuple]) -> list[Moments]:
    """The moments of every call of every tapped layer in a recorded pass.

    Args:
        record: the recorded taps.
        stored: the mean, variance and axis to compare with, by tap.
    """
    return [moments(values, *kept) for tap, kept in stored.items() for values in record.calls[tap]]


def observe(teacher: keras.Model, images, stored: Mapping[str, tuple]) -> tuple[Any, list[Moments]]:
    """The teacher's float32 logits in inference mode, and the moments of its tapped layers.

    Args:
        teacher: the teacher.
        images: its inputs.
        stored: the mean, variance and axis to compare with, by tap; empty for the logits only.
    """
    with taps.record(teacher, stored) as record:
        logits = ops.cast(teacher(images, training=False), "float32")
    return logits, recorded(record, stored)


def moments(values, stored_mean, stored_variance, axis: int = -1) -> Moments:
    """The moments of a layer's input in one call.

    Args:
        values: `(batch, ..., channels)`.
        stored_mean: `(channels,)`.
        stored_variance: `(channels,)`.
        axis: the channel axis.

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
    """Measures means and variances of features over images, for teachers that do not store any.

    A vision transformer stores no statistics of its training data, nor does a network with folded
    normalization. Statistics of a few real or similar images can replace them. For a layer that is
    called several times, all calls count together.

    Args:
        model: the teacher.
        images: `(n, height, width, channels)`.
        layer_taps: paths of layers that return tokens or feature maps, channels last; append `:input` for
            their inputs.

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
