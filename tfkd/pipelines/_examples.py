"""Real examples from npz files or arrays, checked against the model they are for."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfkd._core import untrusted
from tfkd.tasks import task_of

# Inputs, an array or several by name, and labels.
Examples = tuple[Any, np.ndarray]


def load_examples(
    source: str | os.PathLike | tuple,
    model: keras.Model,
    part: str = "test",
    argument: str = "evaluation_data",
) -> Examples:
    """Inputs and labels from an npz file or arrays, in the form a model takes.

    Args:
        source: an npz file with `x_test` and `y_test`, or these two arrays. Inputs are `(n, ...)` in the
            model's shape, uint8 or floats; float images are in [0, 1], and a single channel axis may be
            missing. Labels depend on the model's task: for classification, `n` class indices.
        model: the model; its task defines the labels.
        part: "test", or "train" for `x_train` and `y_train` in a file.
        argument: name of the argument with the examples, for messages.

    Returns:
        float32 inputs (uint8 ones divided by 255) and labels.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not an npz file, lacks an array, or shapes or values are invalid.

    Example:
        >>> x, y = tfkd.pipelines.load_examples("mnist.npz", teacher)
    """
    what = f"`{argument}`"
    given: Any = source
    if isinstance(source, (str, os.PathLike)):
        given = read_arrays(os.fspath(source), (f"x_{part}", f"y_{part}"), what)
    try:
        x, y = given
    except (TypeError, ValueError):
        raise TypeError(
            f"{what} must be an npz file or (inputs, labels). Received: {type(given)}."
        ) from None
    x = _inputs(np.asarray(x), tuple(model.input_shape[1:]), what)
    return x, task_of(model).check_labels(np.asarray(y), len(x), f"the labels of {what}")


def load_inputs(source: str | os.PathLike | np.ndarray, model: keras.Model, argument: str) -> np.ndarray:
    """Inputs alone, in the form a model takes: `x_train` of an npz file, or an array.

    Args:
        source: the file, or inputs `(n, ...)` as for `load_examples`.
        model: the model that takes them.
        argument: name of the argument, for messages.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is not an npz file, lacks the array, or the shape or values are invalid.
    """
    what = f"`{argument}`"
    if isinstance(source, (str, os.PathLike)):
        (source,) = read_arrays(os.fspath(source), ("x_train",), what)
    return _inputs(np.asarray(source), tuple(model.input_shape[1:]), what)


def read_arrays(path: str, wanted: Sequence[str], what: str) -> list[np.ndarray]:
    """Arrays of an npz file, in the order of `wanted`.

    Args:
        path: the file.
        wanted: names of the arrays.
        what: the argument that gave the file, for messages.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not an npz file, or lacks an array.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"{what}: the file {path!r} does not exist.")
    what = f"{what}: {path!r}"
    try:
        untrusted.check_arrays(path, what, wanted)
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays.files
            found = {name: arrays[name] for name in wanted if name in names}
    except untrusted.RefusedFile:
        raise
    except Exception as error:
        raise untrusted.refusal(what, f"is not a readable npz file: {error}") from error
    if missing := set(wanted) - set(found):
        raise ValueError(
            f"{what} lacks {' and '.join(sorted(missing))}; it has {sorted(names)[:20] or 'nothing'}. Save "
            f"it with np.savez(path, {', '.join(f'{name}=...' for name in wanted)})."
        )
    return [found[name] for name in wanted]


def _inputs(x, shape, what):
    given = x.shape
    if given[1:] == shape[:-1] and shape[-1] == 1:
        x = x[..., None]
    if x.shape[1:] != shape or not len(x):
        raise ValueError(
            f"The inputs of {what} must have the shape (n, {', '.join(map(str, shape))}) that the model "
            f"takes. Received: {given}."
        )
    if x.dtype == np.uint8:
        return x.astype("float32") / 255.0
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"The inputs of {what} must be uint8 or floats. Received: {x.dtype}.")
    if len(shape) == 3 and not (x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"The inputs of {what} are images, so they must be uint8 or floats between 0 and 1. Received: "
            f"{x.dtype} from {x.min()} to {x.max()}."
        )
    return x.astype("float32")
