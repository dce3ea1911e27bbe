"""Ranges of quantization-aware students, taken from images."""

from unittest import mock

import numpy as np

from tfkd.compression.bridged import BridgedModel
from tfkd.compression.tfmot import load


def calibrate(student: BridgedModel, images: np.ndarray) -> None:
    """Sets the ranges of a quantization-aware student to those that its values have on images.

    Batch statistics and weights stay. `quantize_aware` does this; do it again after changing weights by
    hand, or to begin with other images.

    Args:
        student: what `quantize_aware` made.
        images: `(n, height, width, channels)` in the scale that the student takes, some hundred.

    Raises:
        ValueError: if the images are of another shape.

    Example:
        >>> tfkd.compression.calibrate(student, distiller.synthesize(256))
    """
    images = np.asarray(images, "float32")
    if images.shape[1:] != tuple(student.input_shape[1:]) or not len(images):
        raise ValueError(
            "`images` must be of shape (n, "
            f"{', '.join(map(str, student.input_shape[1:]))}), as the student takes them. Received: "
            f"{images.shape}."
        )
    load()
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    def changed(function, **options):
        return lambda *args, **kwargs: function(*args, **{**kwargs, **options})

    # A moving average that forgets at once: each layer sees what comes out of those calibrated before it.
    with mock.patch.multiple(
        quant_ops,
        MovingAvgQuantize=changed(quant_ops.MovingAvgQuantize, is_training=True, ema_decay=0.0),
        LastValueQuantize=changed(quant_ops.LastValueQuantize, is_training=True),
        AllValuesQuantize=changed(quant_ops.AllValuesQuantize, is_training=True),
    ):
        student.inner(images, training=False)
