"""Latencies of TFLite files, measured in turns, since a machine's speed varies."""

import time
from collections.abc import Sequence

import keras
import numpy as np

from tfkd._core.checks import check_choice
from tfkd._core.precision import in_float32
from tfkd._core.runtimes import TFLiteFile, require_litert
from tfkd.export._conversion import CALIBRATED, convert
from tfkd.export._inputs import inputs_for
from tfkd.export._subject import trained_network, with_known_sides
from tfkd.searching._budget import TIMED

_WARM_UP_ROUNDS, _LEAST_ROUNDS, _MOST_ROUNDS = 10, 30, 300
# Seconds per file, after which no further round starts.
_SECONDS = 1.0
_CALIBRATION_INPUTS = 64


def measure_milliseconds(
    models: Sequence[keras.Model], quantization: str = "float32", inputs: np.ndarray | None = None
) -> list[float]:
    """Median times of networks as TFLite files, for one input on one thread, measured in turns.

    Each round runs every file once, so other load on the machine slows all of them equally.

    Args:
        models: networks, trained or not.
        quantization: "float32" or "int8", the kind of the files.
        inputs: inputs `(n, ...)` for calibrating "int8" files; None for procedural images.

    Returns:
        Milliseconds, one for each model.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        ValueError: for an unknown kind of file, or a model that does not take images without `inputs`.
        RuntimeError: if a model cannot be converted.

    Example:
        >>> teacher_ms, student_ms = tfkd.searching.measure_milliseconds([teacher, student])
    """
    check_choice("quantization", quantization, TIMED)
    require_litert()
    rounds = timed_rounds([file_of(model, quantization, inputs) for model in models])
    return [float(median) for median in 1000 * np.median(rounds, axis=0)]


def file_of(model: keras.Model, quantization: str, inputs: np.ndarray | None) -> bytes:
    """A network as a TFLite file, for timing only."""
    network = with_known_sides(trained_network(model), None)
    with in_float32(network) as network:
        calibration = None
        if quantization in CALIBRATED:
            given = None if inputs is None else inputs[:_CALIBRATION_INPUTS]
            calibration = inputs_for(network, given, "inputs", [0.0, 1.0], 0)[:_CALIBRATION_INPUTS]
        return convert(network, quantization, calibration)


def timed_rounds(contents: Sequence[bytes]) -> np.ndarray:
    """Seconds per input: `(rounds, files)`; each round runs the files one after another."""
    loaded = [TFLiteFile(content) for content in contents]
    for each in loaded:
        # The interpreter keeps a reference to this input.
        each(np.zeros((1, *each.input_shape[1:]), "float32"))
    rounds, begin = [], time.perf_counter()
    while len(rounds) < _WARM_UP_ROUNDS + _MOST_ROUNDS:
        rounds.append([_seconds(each.interpreter) for each in loaded])
        enough = len(rounds) >= _WARM_UP_ROUNDS + _LEAST_ROUNDS
        if enough and time.perf_counter() - begin > _SECONDS * len(loaded):
            break
    return np.array(rounds[_WARM_UP_ROUNDS:])


def _seconds(interpreter):
    begin = time.perf_counter()
    interpreter.invoke()
    return time.perf_counter() - begin
