"""Inputs for calibrating a model and comparing it with its file."""

import math
from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd._core.layouts import filled_shape, probes
from tfkd.export._examples import Inputs, Ranks, as_inputs, filled_up
from tfkd.export._signature import PADDING_MASK, Declared, declared_inputs, is_named, signature, takes_texts

_IMAGES = 256
# The memory limit of compared outputs, and the number that is compared in any case.
_OUTPUT_BYTES, _FEWEST = 2**28, 16


def inputs_for(model: keras.Model, data: Any, argument: str, limits: list[float], seed: int) -> Any:
    """Inputs for a model: the given ones, checked, or images from the procedural generators.

    Args:
        model: a model with known input sizes.
        data: inputs in any form that `as_inputs` takes, as floats on the model's scale or as the integers
            that it takes; or None.
        argument: the name of `data` in messages.
        limits: the lowest and the highest value of procedural images.
        seed: the seed of procedural images.

    Returns:
        Inputs `(n, ...)`, or a dictionary of several by name, in the dtypes that the model takes.

    Raises:
        TypeError: if the model takes floats, but the data are not floats.
        ValueError: if the data have another shape, or if there are none and the model does not take images.
    """
    low, high = limits
    if data is not None:
        return given_inputs(model, data, argument)
    images = _procedural(model, argument, seed)
    if images.dtype == np.uint8:
        return images
    return low + (high - low) * images


def ranks_of(model: keras.Model) -> Ranks:
    """The number of axes of one input of a network, by name if it takes named inputs."""
    declared = declared_inputs(model)
    if is_named(model) or len(declared) > 1 or takes_texts(declared):
        return {name: each.rank for name, each in declared.items()}
    return next(iter(declared.values())).rank


def given_inputs(model: keras.Model, data: Any, argument: str) -> Inputs:
    """The given inputs, checked, in the shapes and dtypes that a model with known input sizes takes.

    Rows of integers are padded with zeros; excess padding is cut off.

    Args:
        model: the model.
        data: inputs as for `as_inputs`.
        argument: the name of `data` in messages.

    Raises:
        TypeError: if the model takes floats, but the data are not floats.
        ValueError: if they do not match the model.
    """
    takes = {
        name: Declared(tuple(spec.shape[1:]), spec.dtype.name) for name, spec in signature(model).items()
    }
    try:
        inputs = as_inputs(data, ranks_of(model))
    except ValueError as error:
        raise ValueError(f"`{argument}`: {error}") from error
    if not isinstance(inputs, dict):
        return _checked(inputs, next(iter(takes.values())), argument)
    inputs = {name: inputs[name] for name in takes}
    if takes_texts(takes):
        inputs = _of_length(inputs, next(iter(takes.values())).shape[0], argument)
    checked = {name: _checked(inputs[name], takes[name], argument, name) for name in takes}
    if len({len(array) for array in checked.values()}) != 1:
        counts = ", ".join(f"{len(array)} of {name}" for name, array in checked.items())
        raise ValueError(
            f"`{argument}` must have the same number of rows for each input. Received: {counts}."
        )
    return checked


def length_of(*given: Inputs | None) -> int | None:
    """The number of tokens of the longest text in arrays `(n, tokens)`; None if there are none."""
    rows = [array for each in given if each is not None for array in tree.flatten(each)]
    return max((array.shape[1] for array in rows if array.ndim == 2), default=None)


def most_compared(network: keras.Model) -> int:
    """How many outputs of a network fit in memory at once; language models have large outputs."""
    of_one = 4 * math.prod(network.output_shape[1:])
    return max(_FEWEST, _OUTPUT_BYTES // of_one)


def _procedural(model, argument, seed):
    takes = signature(model)
    if takes_texts(declared_inputs(model)):
        raise ValueError(
            f"`{argument}` is needed: {model.name!r} takes texts. Pass some in the form that "
            "tfkd.text.Tokenizer returns: a dictionary of arrays, or a tf.data.Dataset of them."
        )
    shapes = [tuple(spec.shape[1:]) for spec in takes.values()]
    kinds = [spec.dtype.name for spec in takes.values()]
    of_pixels = kinds[0] == "uint8" or keras.backend.is_float_dtype(kinds[0])
    if len(takes) > 1 or is_named(model) or len(filled_shape(model)) != 3 or not of_pixels:
        raise ValueError(
            f"`{argument}` is needed: {model.name!r} takes inputs of shape "
            f"{', '.join(map(str, shapes))}, which the procedural image generators cannot make."
        )
    images = probes(model, _IMAGES, seed)
    # Pixels from 0 to 255, as from cameras.
    return np.round(255 * images).astype("uint8") if kinds[0] == "uint8" else images


def _of_length(inputs, length, argument):
    """Rows of equal length: short ones are padded with zeros, and excess padding is cut off."""
    if any(array.ndim != 2 for array in inputs.values()):
        return inputs
    longest = max(array.shape[1] for array in inputs.values())
    if longest > length:
        real = inputs.get(PADDING_MASK, next(iter(inputs.values())))[:, length:]
        if real.any():
            raise ValueError(
                f"`{argument}` has texts of more than {length} tokens, but the file takes {length}. Pass "
                f"length={longest}, or let the tokenizer cut the texts: tokenizer(texts, length={length})."
            )
        inputs = {name: array[:, :length] for name, array in inputs.items()}
    return {name: filled_up(array, length, 0) for name, array in inputs.items()}


def _checked(data, takes: Declared, argument, name=None):
    called = f"`{argument}`" if name is None else f"{name!r} of `{argument}`"
    sides = ", ".join(map(str, takes.shape))
    of_floats = keras.backend.is_float_dtype(takes.dtype)
    if data.dtype.kind not in "biuf":
        raise TypeError(f"{called} must be numbers, inputs (n, {sides}). Received: {data.dtype}.")
    if of_floats and data.dtype.kind != "f":
        raise TypeError(
            f"{called} must be floats on the scale that the model takes, see `input_range`. "
            f"Received: {data.dtype}."
        )
    if not np.isfinite(data).all():
        raise ValueError(f"{called} must be finite. Received: NaN or infinite values.")
    if takes.is_row_of_integers and (data != np.round(data)).any():
        raise ValueError(f"{called} must be integers, such as token ids. Received: {data.dtype} fractions.")
    data = data.astype("float32" if of_floats else takes.dtype)
    if data.shape[1:] != takes.shape or not len(data):
        kind = "rows of integers" if takes.is_row_of_integers else "images"
        raise ValueError(
            f"{called} must be {kind} of shape (n, {sides}), or other inputs that the model takes. "
            f"Received: shape {data.shape}."
        )
    return data
