"""TFLite files of networks with exits: all exits in one file, or a file for each part between exits."""

import dataclasses
import os
from typing import Any, NamedTuple

import keras
import numpy as np

from tfkd._core import files
from tfkd._core.asking import answers
from tfkd._core.checks import check_choice
from tfkd._core.exit_graphs import check_exits, exit_names, segments
from tfkd._core.precision import copied, in_float32, rounding
from tfkd._core.runtimes import TFLiteFile, require_litert
from tfkd.export._conversion import CALIBRATED, convert
from tfkd.export._inputs import inputs_for
from tfkd.export._metadata import limits
from tfkd.export._requirements import FLOAT_DIFFERENCE, QUANTIZATIONS

# A machine epsilon larger than float32's means half precision.
_FLOAT32 = 1e-6


@dataclasses.dataclass(frozen=True)
class ExitFile:
    """A TFLite file with exits, and how it compares with the Keras model.

    Attributes:
        path: where it was written; None if it was not.
        size_bytes: its size.
        exits: the names of the exits whose logits it returns.
        agreement: for each exit, the fraction of inputs for which file and model predict the same class,
            given the files before it.
        relative_difference: for each exit, the largest difference of a logit, as a fraction of their range.
    """

    path: str | None
    size_bytes: int
    exits: list[str]
    agreement: list[float]
    relative_difference: list[float]


def export_exits(
    model: keras.Model,
    folder: str | os.PathLike | None,
    quantization: str = "float32",
    representative_data: Any = None,
    verification_data: Any = None,
    segmented: bool = True,
    input_range: tuple[float, float] = (0.0, 1.0),
) -> list[ExitFile]:
    """Converts a network with exits to TFLite files, runs them and compares them with the network.

    If `segmented`, there is a file for each exit, with its name: the first takes an image, and each later
    one the `features` that the one before it returns with its `logits`; the last returns only `logits`. A
    phone can stop as soon as it is confident, and save the rest. Otherwise a single file, `exits.tflite`,
    returns the logits of all exits, by the names of the exits. `export_tflite(drop_exits(model), ...)`
    makes a file without exits. Files take one example at a time, with float inputs and outputs.

    Args:
        model: a trained model from `tfkd.schemes.attach_exits`, or a `SelfDistiller.network`.
        folder: the folder for the files, created if necessary; None to check without writing.
        quantization: as for `export_tflite`. Biases are not corrected.
        representative_data: calibration inputs `(n, ...)` for "int8", "int16x8" and "w4a8"; None for images
            from the procedural generators.
        verification_data: inputs for the comparison; None for the representative ones, or for other
            procedural images.
        segmented: whether to write a file for each exit.
        input_range: the lowest and highest value of procedural images.

    Returns:
        The files, from shallow to deep.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        TypeError: if the model is not a Keras model, or inputs are not floats.
        ValueError: if the quantization is unknown; if the model has no exits, several inputs, unknown input
            sizes or exits that do not follow each other; or if data do not match the model.
        RuntimeError: if the converter rejects a part, or a "float32" file does not compute the same as the
            model.
        OSError: if a file cannot be written.

    Example:
        >>> files = tfkd.export.export_exits(distiller.network, "phone")
        >>> [file.path for file in files]
        ['phone/exit_1.tflite', 'phone/exit_2.tflite', 'phone/logits.tflite']
    """
    require_litert()
    check_exits(model)
    check_choice("quantization", quantization, QUANTIZATIONS)
    _check_sides(model)
    half, (low, high) = rounding(model) > _FLOAT32, limits(input_range)
    with in_float32(model) as network:
        # The tensors of a graph built in half precision keep that dtype.
        network, calibration = copied(network) if half else network, None
        if quantization in CALIBRATED or representative_data is not None:
            calibration = inputs_for(network, representative_data, "representative_data", [low, high], 0)
        verifying = calibration if verification_data is None else verification_data
        images = inputs_for(network, verifying, "verification_data", [low, high], 1)
        parts = _parts(network, segmented)
        contents = _contents(parts, quantization, calibration)
        expected = dict(zip(exit_names(network), answers(network, images), strict=True))
    seen = _answers_of_files(parts, contents, images)
    compared = {name: _compared(expected[name], seen[name]) for name in expected}
    _check_floats(model, quantization, compared)
    return [
        _written(part, content, folder, compared) for part, content in zip(parts, contents, strict=True)
    ]


class _Part(NamedTuple):
    """The contents of one file: its name, the model, and the names of its outputs and of its exits."""

    name: str
    model: keras.Model
    outputs: list[str]
    exits: list[str]


def _parts(network, segmented):
    names = exit_names(network)
    if not segmented:
        return [_Part("exits", network, names, names)]
    stretches = zip(names, segments(network), strict=True)
    return [
        _Part(name, stretch, ["logits", "features"][: len(stretch.outputs)], [name])
        for name, stretch in stretches
    ]


def _check_sides(model):
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if len(shapes) != 1 or None in shapes[0]:
        raise ValueError(
            f"`model` must have one input of known size. Received: {model.name!r} with inputs of shapes "
            f"{shapes}. Build it with a keras.Input of known size."
        )


def _contents(parts, quantization, calibration):
    """The files, each calibrated with the outputs of the parts before it."""
    contents = []
    for part in parts:
        contents.append(convert(part.model, quantization, calibration, outputs=part.outputs))
        if calibration is not None and "features" in part.outputs:
            calibration = answers(part.model, calibration)[part.outputs.index("features")]
    return contents


def _answers_of_files(parts, contents, inputs: np.ndarray):
    """The logits of all exits, by name; each file takes the features from the one before it."""
    seen = {}
    for part, content in zip(parts, contents, strict=True):
        file = TFLiteFile(content)
        returned: dict[str, np.ndarray] = dict(zip(file.output_shapes, file(inputs), strict=True))
        inputs = returned.get("features", inputs)
        seen |= {name: returned["logits" if len(part.exits) == 1 else name] for name in part.exits}
    return seen


def _compared(expected, seen):
    """The fraction of equal classes, and the largest difference as a fraction of the range."""
    difference = float(np.abs(expected - seen).max() / max(float(np.ptp(expected)), 1e-6))
    return float(np.mean(expected.argmax(-1) == seen.argmax(-1))), difference


def _check_floats(model, quantization, compared):
    worst = max(difference for _, difference in compared.values())
    limit = FLOAT_DIFFERENCE if quantization == "float32" else np.inf
    if not (np.isfinite(worst) and worst <= limit):
        raise RuntimeError(
            f"The {quantization} TFLite files of {model.name!r} do not compute the same as the model: "
            f"logits differ by up to {worst:.2%} of their range; nothing was written. Check that outputs "
            "are finite, and that no layer is random or, in segments, needs the mask of the input."
        )


def _written(part, content, folder, compared):
    path = None
    if folder is not None:
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(os.fspath(folder), f"{part.name}.tflite")
        files.write_bytes(path, content)
    agreement, difference = zip(*(compared[name] for name in part.exits), strict=True)
    return ExitFile(path, len(content), part.exits, list(agreement), list(difference))
