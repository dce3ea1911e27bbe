"""Ranges of quantization-aware students, taken from images."""

from typing import Any
from unittest import mock

import keras
import numpy as np

from tfkd.compression._bridged import BridgedModel
from tfkd.compression._tfmot import load


def calibrate(student: BridgedModel, images: Any) -> None:
    """Sets the ranges of a quantization-aware student to those that its values have on images.

    Batch statistics and weights stay. `quantize_aware` does this; do it again after changing weights by
    hand, or to begin with other images.

    Args:
        student: what `quantize_aware` made.
        images: `(n, height, width, channels)` in the scale that the student takes, some hundred; of a
            student with several inputs, arrays in the structure of its inputs.

    Raises:
        TypeError: if the student is not quantization-aware.
        ValueError: if the images are of another shape.

    Example:
        >>> tfkd.compression.calibrate(student, distiller.synthesize(256))
    """
    check_quantization_aware(student)
    arrays = [np.asarray(array, "float32") for array in keras.tree.flatten(images)]
    shapes = [tuple(tensor.shape[1:]) for tensor in student.inputs]
    if [array.shape[1:] for array in arrays] != shapes or not all(map(len, arrays)):
        expected = " and ".join(f"(n, {', '.join(map(str, shape))})" for shape in shapes)
        raise ValueError(
            f"`images` must be of shape {expected}, as the student takes them. Received: "
            f"{[array.shape for array in arrays]}."
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
        student.inner(keras.tree.pack_sequence_as(student.inner.input, arrays), training=False)


def is_quantization_aware(model: keras.Model) -> bool:
    """Whether `quantize_aware` made a model."""
    return isinstance(model, BridgedModel) and any(
        hasattr(layer, "quantize_config") for layer in model.inner.layers
    )


def check_quantization_aware(student: keras.Model) -> None:
    """Raises TypeError if `quantize_aware` did not make a model."""
    if not is_quantization_aware(student):
        raise TypeError(
            f"`student` must be a model that quantize_aware made. Received: {type(student).__name__} "
            f"{getattr(student, 'name', '')!r}."
        )
