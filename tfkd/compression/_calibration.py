"""Calibrates the ranges of quantization-aware students."""

from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.asking import in_parts
from tfkd.compression._bridged import BridgedModel
from tfkd.compression._tfmot import load


def calibrate(student: BridgedModel, images: Any) -> None:
    """Sets the quantization ranges of a student to the ranges of its values on images.

    Weights and batch statistics do not change. `quantize_aware` calls this; call it again after changing
    weights by hand, or to start from other images.

    Args:
        student: a student from `quantize_aware`.
        images: a few hundred images `(n, height, width, channels)` on the scale that the student takes; for
            a student with several inputs, arrays in the structure of its inputs, such as the result of a
            `tfkd.text.Tokenizer`.

    Raises:
        TypeError: if the student is not quantization-aware.
        ValueError: if the images have another shape.

    Example:
        >>> student = tfkd.compression.quantize_aware(model)
        >>> tfkd.compression.calibrate(student, distiller.synthesize(256))
    """
    check_quantization_aware(student)
    arrays = [np.asarray(array) for array in keras.tree.flatten(images)]
    shapes = [tuple(tensor.shape[1:]) for tensor in student.inputs]
    fitting = len(arrays) == len(shapes) and all(map(_fits, arrays, shapes))
    if not fitting or not all(map(len, arrays)):
        expected = " and ".join(f"(n, {', '.join(map(str, shape))})" for shape in shapes)
        raise ValueError(
            f"`images` must have the student's input shape {expected}. Received: "
            f"{[array.shape for array in arrays]}."
        )
    load()
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    arrays = [array.astype(tensor.dtype) for array, tensor in zip(arrays, student.inputs, strict=True)]
    parts = in_parts(student, keras.tree.pack_sequence_as(student.inner.input, arrays))
    known = set()

    def widening(function, **options):
        """Wraps a function so that its range covers all batches so far, not just the last one."""

        def apply(inputs, low, high, **kwargs):
            if id(low) not in known:
                known.add(id(low))
                # Every range includes 0; the old values are from other images.
                low.assign(tf.zeros_like(low))
                high.assign(tf.zeros_like(high))
            before = low.numpy(), high.numpy()
            function(inputs, low, high, **{**kwargs, **options, "is_training": True})
            low.assign(tf.minimum(low, before[0]))
            high.assign(tf.maximum(high, before[1]))
            return function(inputs, low, high, **{**kwargs, "is_training": False})

        return apply

    # With a decay of 0 ranges change at once, so each layer sees the outputs of those calibrated before it.
    with mock.patch.multiple(
        quant_ops,
        MovingAvgQuantize=widening(quant_ops.MovingAvgQuantize, ema_decay=0.0),
        LastValueQuantize=widening(quant_ops.LastValueQuantize),
        AllValuesQuantize=widening(quant_ops.AllValuesQuantize),
    ):
        for part in parts:
            student.inner(part, training=False)


def _fits(array, shape):
    sides = array.shape[1:]
    return len(sides) == len(shape) and all(
        known in (None, side) for side, known in zip(sides, shape, strict=True)
    )


def is_quantization_aware(model: keras.Model) -> bool:
    """Whether a model was made by `quantize_aware`."""
    return isinstance(model, BridgedModel) and any(
        hasattr(layer, "quantize_config") for layer in model.inner.layers
    )


def check_quantization_aware(student: keras.Model) -> None:
    """Raises TypeError if a model was not made by `quantize_aware`."""
    if not is_quantization_aware(student):
        raise TypeError(
            f"`student` must be a model from quantize_aware. Received: {type(student).__name__} "
            f"{getattr(student, 'name', '')!r}."
        )
