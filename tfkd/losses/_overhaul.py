"""OFD, overhaul of feature distillation: pre-ReLU features, without the values that the ReLU discards."""

import math

import keras
import numpy as np
from keras import ops

from tfkd import taps
from tfkd.losses._base import Taps, as_float32
from tfkd.losses._features import (
    FeatureLoss,
    Projector,
    as_list,
    halving_sum,
    normalized_projector,
    shape_list,
)
from tfkd.losses._maps import matching_pair

_FACTOR = 1 / 1000


def overhaul(teacher, student, margin):
    """OFD: partial squared distance: negative student values need not match negative teacher values.

    The teacher's values are raised to the margin where they are below it. Differences count where the
    student is above the result, or the teacher above 0. Reduction: summed over all axes but the first and
    divided by 1000, one value per example; the mean is the published value. No temperature. Where maps
    differ in size, the larger is average-pooled.

    Args:
        teacher: the teacher's values before the ReLU `(batch, ..., channels)`.
        student: the student's, with the same number of channels.
        margin: negative, `(channels,)` or one number.

    Returns:
        A float32 tensor `(batch,)`, at least 0.

    Raises:
        ValueError: if the shapes cannot match.

    Example:
        >>> overhaul([[-5.0, 1.0]], [[2.0, 0.0]], margin=-1.0)  # [0.001 * (9 + 1)]

    Reference:
        Heo et al., "A Comprehensive Overhaul of Feature Distillation", 2019; the divisor is the authors'
        for CIFAR (10,000 for ImageNet).
    """
    teacher, student = matching_pair(teacher, student)
    target = ops.maximum(teacher, as_float32(margin, "margin"))
    counts = (student > target) | (target > 0)
    squares = ops.where(counts, (student - target) ** 2, 0.0)
    return _FACTOR * ops.sum(squares, axis=tuple(range(1, len(student.shape))))


def batch_norm_margin(layer: keras.layers.BatchNormalization) -> np.ndarray:
    """The mean of each channel's negative values, if the layer's outputs are Gaussian.

    Args:
        layer: a built batch normalization.

    Returns:
        float32 margins `(channels,)`; three standard deviations below 0 if fewer than one value in a
        thousand is negative.
    """
    channels = layer.moving_mean.shape[0]
    deviations = np.abs(layer.gamma.numpy()) if layer.scale else np.ones(channels)
    means = layer.beta.numpy() if layer.center else np.zeros(channels)
    pairs = zip(means.astype("float64"), deviations.astype("float64"), strict=True)
    return np.array([_negative_mean(mean, deviation) for mean, deviation in pairs], "float32")


def _negative_mean(mean, deviation):
    """Mean of a Gaussian truncated to negative values."""
    if deviation == 0:
        return min(mean, 0.0)
    z = mean / deviation
    negative = 0.5 * math.erfc(z / math.sqrt(2))
    if negative <= 0.001:
        return -3 * deviation
    return mean - deviation * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi) / negative


@keras.saving.register_keras_serializable(package="tfkd")
class Overhaul(FeatureLoss):
    """OFD: `overhaul` as a distiller loss, with margins from the teacher's batch normalizations.

    With several layers the last has weight 1, the one before it a half, and so on.

    Args:
        teacher_layer: path of a `BatchNormalization` before a ReLU, or a list of paths.
        student_layer: taps of values before a ReLU, the same number.
        projector: see `FeatureLoss`; None or True for a 1x1 convolution with batch normalization.
        **kwargs: `name`.

    Raises:
        ValueError: if a layer of the teacher is not a batch normalization.

    Example:
        >>> tfkd.Distiller(teacher, student, Overhaul("block3/norm", "block3/norm"))

    Reference:
        Heo et al., "A Comprehensive Overhaul of Feature Distillation", 2019.
    """

    def __init__(
        self, teacher_layer: Taps, student_layer: Taps, projector: Projector = None, **kwargs
    ) -> None:
        super().__init__(teacher_layer, student_layer, projector or True, **kwargs)
        self.margins: list = []

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        if teacher is not None:
            self._set_margins([_margin_of(teacher, path) for path in as_list(self.teacher_layer)])

    def build(self, teacher_shape, student_shape) -> None:
        super().build(teacher_shape, student_shape)
        if not self.margins:
            # No teacher yet, as when loading a file: the margins come with the weights.
            self._set_margins([np.zeros(shape[-1], "float32") for shape in shape_list(teacher_shape)])

    def _set_margins(self, values):
        self.margins = self.margins or [
            self.add_weight(shape=value.shape, initializer="zeros", trainable=False, name=f"margin_{i}")
            for i, value in enumerate(values)
        ]
        for variable, value in zip(self.margins, values, strict=True):
            variable.assign(value)

    def make_projector(self, channels: int, rank: int) -> keras.Layer:
        return normalized_projector(channels, rank)

    def compare_pairs(self, pairs):
        both = zip(pairs, self.margins, strict=True)
        return halving_sum(overhaul(t, s, margin) for (t, s, _), margin in both)


def _margin_of(teacher, path):
    layer = taps.resolve(teacher, path)
    if not isinstance(layer, keras.layers.BatchNormalization) or path.endswith(":input"):
        raise ValueError(
            "`teacher_layer` must be the path of a BatchNormalization layer: its statistics give the "
            f"margin. Received: {path!r}, a {type(layer).__name__}."
        )
    return batch_norm_margin(layer)
