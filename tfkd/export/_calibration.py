"""Calibration inputs as a file for other tools: `calibration.npz`."""

import os
import zipfile

import numpy as np

from tfkd._core import files
from tfkd._core.runtimes import SIGNATURE, TFLiteFile
from tfkd.export._examples import Inputs, filled_up

# Maximum number of bytes to write.
_BYTES = 2**26


def inputs_of_file(content: bytes, inputs: Inputs) -> dict[str, np.ndarray]:
    """Inputs in the form that a TFLite file takes, by the names in its signature.

    Args:
        content: the file; for quantized inputs, the returned arrays are floats.
        inputs: the model's inputs `(n, ...)`, or several by name.

    Returns:
        For each input of the file an array `(n, ...)`, float32 or integer; of large inputs only the first
        ones, up to 64 MiB.
    """
    file = TFLiteFile(content)
    named = inputs if isinstance(inputs, dict) else dict.fromkeys(file.input_shapes, inputs)
    if len(file.input_shapes) == len(named) == 1:
        named = dict(zip(file.input_shapes, named.values(), strict=True))
    arrays = {}
    for name, shape in file.input_shapes.items():
        array = np.asarray(named[name])
        if array.dtype.kind == "f":
            array = array.astype("float32")
        elif array.dtype == np.int64:
            array = array.astype("int32")
        length = shape[1] if array.ndim == len(shape) == 2 else None
        # Texts are padded to the file's length.
        if length is not None and array.shape[1] < length:
            array = filled_up(array, length, 0)
        arrays[name] = array
    of_one = sum(array[:1].nbytes for array in arrays.values())
    return {name: array[: max(1, _BYTES // of_one)] for name, array in arrays.items()}


def write_calibration(path: str | os.PathLike, inputs: dict[str, np.ndarray]) -> None:
    """Writes inputs by name, arrays `(n, ...)`, to an npz file, completely or not at all."""
    with files.replacing(path) as temporary:
        files.write_arrays(temporary, inputs)


def load_calibration(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays in a `calibration.npz`, by the names of inputs.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not such a file.
    """
    try:
        with np.load(path) as saved:
            inputs = {name: saved[name] for name in saved.files}
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"`path`: {os.fspath(path)!r} is not a calibration.npz ({error}).") from error
    if not inputs or any(array.ndim == 0 for array in inputs.values()):
        raise ValueError(f"`path`: {os.fspath(path)!r} is not a calibration.npz: it holds no inputs.")
    if len({len(array) for array in inputs.values()}) != 1:
        raise ValueError(
            f"`path`: {os.fspath(path)!r} must hold the same number of examples of each input. Received: "
            f"{ {name: len(array) for name, array in inputs.items()} }."
        )
    return inputs


def read_calibration(path: str | os.PathLike) -> dict[str, list[dict[str, np.ndarray]]]:
    """Reads the inputs in a `calibration.npz` in the form that `ai_edge_quantizer` takes for calibration.

    Args:
        path: the file that `tfkd.pipelines` and the programs write to their folders: an array `(n, ...)`
            for each input, by name.

    Returns:
        A dictionary from the key of a TFLite file's signature to a list with a dictionary of arrays
        `(1, ...)` for each example.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is not such a file.

    Example:
        >>> tfkd.export.export_tflite(student, "float32.tflite")
        >>> quantizer = Quantizer("float32.tflite", recipe.static_wi8_ai8())
        >>> ranges = quantizer.calibrate(tfkd.export.read_calibration("runs/mine/calibration.npz"))
        >>> quantizer.quantize(ranges).export_model("student.tflite")
    """
    return by_signature(load_calibration(path))


def by_signature(inputs: dict[str, np.ndarray]) -> dict[str, list[dict[str, np.ndarray]]]:
    """Inputs by name in the form that `ai_edge_quantizer` takes: a list of single examples."""
    number = len(next(iter(inputs.values())))
    return {SIGNATURE: [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(number)]}
