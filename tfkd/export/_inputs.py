"""The inputs that a model is calibrated with and compared on."""

from typing import Any

import keras
import numpy as np

from tfkd._core.layouts import filled_shape, probes
from tfkd.export._examples import as_inputs
from tfkd.export._subject import input_dtype

_IMAGES = 256


def inputs_for(model: keras.Model, data: Any, argument: str, limits: list[float], seed: int) -> np.ndarray:
    """Inputs for a model: those given, checked, or images of the procedural generators.

    Args:
        model: takes them.
        data: inputs as floats on the model's scale, in any form that `as_inputs` takes, or None.
        argument: what `data` are called in messages.
        limits: the lowest and the highest value of procedural images.
        seed: of procedural images.

    Returns:
        Inputs `(n, ...)`, float32 unless the model takes integers.

    Raises:
        TypeError: if the model takes floats and the data are not.
        ValueError: if they are of another shape, or the model does not take images and there are none.
    """
    low, high = limits
    if data is not None:
        return _given(model, data, argument)
    images, takes = _procedural(model, argument, seed), input_dtype(model)
    if takes == "uint8":
        # Pixels as cameras give them.
        return np.round(255 * images).astype(takes)
    return low + (high - low) * images


def _procedural(model, argument, seed):
    shape = tuple(model.input_shape[1:])
    takes = input_dtype(model)
    of_pixels = takes == "uint8" or keras.backend.is_float_dtype(takes)
    if len(filled_shape(model)) != 3 or not of_pixels:
        raise ValueError(
            f"`{argument}` is needed: {model.name!r} takes inputs of shape {shape}, which are not images "
            "that the procedural generators could make."
        )
    return probes(model, _IMAGES, seed)


def _given(model, data, argument):
    shape = tuple(model.input_shape[1:])
    data = as_inputs(data, len(shape))
    takes = input_dtype(model)
    of_floats = keras.backend.is_float_dtype(takes)
    if data.dtype.kind not in "biuf":
        raise TypeError(
            f"`{argument}` must be numbers, inputs (n, {', '.join(map(str, shape))}). Received: "
            f"{data.dtype}."
        )
    if of_floats and data.dtype.kind != "f":
        raise TypeError(
            f"`{argument}` must be floats on the scale that the model takes, as `input_range` says it. "
            f"Received: {data.dtype}."
        )
    if of_floats and not np.isfinite(data).all():
        raise ValueError(f"`{argument}` must be finite. Received: NaN or infinite values.")
    data = data.astype("float32" if of_floats else takes)
    if data.shape[1:] != shape or not len(data):
        raise ValueError(
            f"`{argument}` must be images of shape (n, {', '.join(map(str, shape))}), or other inputs that "
            f"the model takes. Received: {data.shape}."
        )
    return data
