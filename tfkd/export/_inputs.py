"""The inputs that a model is calibrated with and compared on."""

import math
from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd._core.layouts import filled_shape, probes
from tfkd.export._examples import Inputs, Ranks, as_inputs, filled_up
from tfkd.export._signature import PADDING_MASK, Declared, declared_inputs, is_named, signature, takes_texts

_IMAGES = 256
# What outputs that are compared may take, and how many are compared even if they take more.
_OUTPUT_BYTES, _FEWEST = 2**28, 16


def inputs_for(model: keras.Model, data: Any, argument: str, limits: list[float], seed: int) -> Any:
    """Inputs for a model: those given, checked, or images of the procedural generators.

    Args:
        model: takes them; its sides are known.
        data: inputs as floats on the model's scale, or as the integers that it takes, in any form that
            `as_inputs` takes, or None.
        argument: what `data` are called in messages.
        limits: the lowest and the highest value of procedural images.
        seed: of procedural images.

    Returns:
        Inputs `(n, ...)`, or a dictionary of several by name, in the dtypes that the model takes.

    Raises:
        TypeError: if the model takes floats and the data are not.
        ValueError: if they are of another shape, or the model does not take images and there are none.
    """
    low, high = limits
    if data is not None:
        return given_inputs(model, data, argument)
    images = _procedural(model, argument, seed)
    if images.dtype == np.uint8:
        return images
    return low + (high - low) * images


def ranks_of(model: keras.Model) -> Ranks:
    """Axes of one input of a network, its sides known or not, by name where it takes them so."""
    declared = declared_inputs(model)
    if is_named(model) or len(declared) > 1 or takes_texts(declared):
        return {name: each.rank for name, each in declared.items()}
    return next(iter(declared.values())).rank


def given_inputs(model: keras.Model, data: Any, argument: str) -> Inputs:
    """Inputs that somebody gave, checked, in the shapes and dtypes that a model of known sides takes.

    Rows of integers are filled up with zeros, and what is only padding is cut off.

    Args:
        model: the model.
        data: as `as_inputs` takes them.
        argument: what they are called in messages.

    Raises:
        TypeError: if the model takes floats and they are not.
        ValueError: if they do not fit.
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
        raise ValueError(f"`{argument}` must have as many rows of each input. Received: {counts}.")
    return checked


def length_of(*given: Inputs | None) -> int | None:
    """Tokens of the longest of several texts, by arrays `(n, tokens)` of them; None if there are none."""
    rows = [array for each in given if each is not None for array in tree.flatten(each)]
    return max((array.shape[1] for array in rows if array.ndim == 2), default=None)


def most_compared(network: keras.Model) -> int:
    """How many outputs of a network are held at once, which those of language models are too large for."""
    of_one = 4 * math.prod(network.output_shape[1:])
    return max(_FEWEST, _OUTPUT_BYTES // of_one)


def _procedural(model, argument, seed):
    takes = signature(model)
    if takes_texts(declared_inputs(model)):
        raise ValueError(
            f"`{argument}` is needed: {model.name!r} takes texts. Give some as tfkd.text.Tokenizer returns "
            "them, a dictionary of arrays, or a tf.data.Dataset of such."
        )
    shapes = [tuple(spec.shape[1:]) for spec in takes.values()]
    kinds = [spec.dtype.name for spec in takes.values()]
    of_pixels = kinds[0] == "uint8" or keras.backend.is_float_dtype(kinds[0])
    if len(takes) > 1 or is_named(model) or len(filled_shape(model)) != 3 or not of_pixels:
        raise ValueError(
            f"`{argument}` is needed: {model.name!r} takes inputs of shape "
            f"{', '.join(map(str, shapes))}, which are not images that the procedural generators could "
            "make."
        )
    images = probes(model, _IMAGES, seed)
    # Pixels as cameras give them.
    return np.round(255 * images).astype("uint8") if kinds[0] == "uint8" else images


def _of_length(inputs, length, argument):
    """Rows of one length: zeros behind short ones, and of long ones what is not padding."""
    if any(array.ndim != 2 for array in inputs.values()):
        return inputs
    longest = max(array.shape[1] for array in inputs.values())
    if longest > length:
        real = inputs.get(PADDING_MASK, next(iter(inputs.values())))[:, length:]
        if real.any():
            raise ValueError(
                f"`{argument}` has texts of more than {length} tokens, which is what the file takes. Give "
                f"length={longest}, or texts that the tokenizer has cut: tokenizer(texts, length={length})."
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
            f"{called} must be floats on the scale that the model takes, as `input_range` says it. "
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
            f"Received: {data.shape}."
        )
    return data
