"""Runs a TFLite file and says how it compares with the model it was made from."""

import dataclasses
import gzip
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfkd._core.asking import answers
from tfkd._core.runtimes import TFLiteFile
from tfkd.compression import BridgedModel
from tfkd.export._examples import as_pair
from tfkd.tasks import Reading, Task, marked_task, output_shape_of, reading_of

_WARMUP_RUNS = 10
_TIMED_RUNS = 100


@dataclasses.dataclass(frozen=True)
class TFLiteCheck:
    """How a TFLite file compares with its Keras model.

    Attributes:
        size_bytes: size of the file.
        gzip_bytes: its size zipped by gzip, as app stores send it.
        latency_ms: median time of one example at one thread, in milliseconds, with XNNPACK.
        latency_2_threads_ms: the same at two threads.
        agreement: how far both give the same answers to synthetic inputs, in [0, 1], as the task has it:
            the share of equal classes or labels, or the closeness of numbers; None without a task.
        max_difference: largest difference of an output on those inputs.
        accuracy: share of real examples, or of their labels, that the file gets right; None without real
            data and for numbers.
        model_accuracy: the same for the Keras model.
        real_agreement: the agreement on real inputs.
        scores: the task's figures of the file on real data, by name; empty without.
        model_scores: the same for the Keras model.
        bias_corrected: whether biases were changed to make up for rounded kernels.
        uncorrected_agreement: the agreement of the file without that; None where nothing was changed.
        relative_difference: `max_difference` as a share of the range of the model's outputs.
    """

    size_bytes: int
    gzip_bytes: int
    latency_ms: float
    latency_2_threads_ms: float
    agreement: float | None
    max_difference: float
    accuracy: float | None = None
    model_accuracy: float | None = None
    real_agreement: float | None = None
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    model_scores: dict[str, float] = dataclasses.field(default_factory=dict)
    relative_difference: float = 0.0
    bias_corrected: bool = False
    uncorrected_agreement: float | None = None


def verify_tflite(
    content: bytes,
    model: keras.Model,
    images: np.ndarray,
    evaluation_data: Any = None,
    task: str | type[Task] | Task | None = None,
) -> TFLiteCheck:
    """Compares a TFLite file with the model it was made from.

    Args:
        content: the file's bytes.
        model: the Keras model.
        images: synthetic inputs `(n, ...)`.
        evaluation_data: real `(inputs, labels)`, a data set of such pairs, or None. Labels are class
            numbers, 0 or 1 for each of several labels, or numbers, as the task has it.
        task: what the outputs mean, by name, class or object of `tfkd.tasks`. None for the task that the
            model was marked with, as a teacher of `tfkd.load_teacher` is; else a softmax or several linear
            outputs are classes, one sigmoid is a binary classifier's probability, several are labels, and
            one linear output is a number. Outputs of several axes have a task only if one is given.

    Returns:
        A `TFLiteCheck`.

    Raises:
        TypeError: if `task` is not a task.
        ValueError: if the task or the evaluation data do not fit the model.
    """
    expected = answers(model, images)
    reading = find_reading(model, task, lambda: expected)
    return compared(content, model, images, expected, reading, evaluation_data)


def compared(
    content: bytes,
    model: keras.Model,
    images: np.ndarray,
    expected: np.ndarray,
    reading: Reading | None,
    evaluation_data: Any = None,
    uncorrected: bytes | None = None,
) -> TFLiteCheck:
    """What `verify_tflite` returns, where the model has been asked already.

    Args:
        content: the file's bytes.
        model: the Keras model.
        images: synthetic inputs `(n, ...)`.
        expected: what the model answers to them.
        reading: how outputs are read; None if nobody knows.
        evaluation_data: as of `verify_tflite`.
        uncorrected: the file as it would be without the correction of biases; None if there was none.
    """
    outputs = run_tflite(content, images)
    difference = float(np.abs(outputs - expected).max())
    return TFLiteCheck(
        size_bytes=len(content),
        # Without a time stamp, so that the size is the same each time.
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        latency_ms=_latency_ms(content, threads=1),
        latency_2_threads_ms=_latency_ms(content, threads=2),
        agreement=_agreement(reading, expected, outputs),
        max_difference=difference,
        relative_difference=difference / _range(expected),
        bias_corrected=uncorrected is not None,
        uncorrected_agreement=None
        if uncorrected is None
        else _agreement(reading, expected, run_tflite(uncorrected, images)),
        **({} if evaluation_data is None else _on_real_data(content, model, evaluation_data, reading)),
    )


def find_reading(
    model: keras.Model, task: str | type[Task] | Task | None, ask: Callable[[], np.ndarray]
) -> Reading | None:
    """How a model's outputs are read; None for those of several axes that no task is known for.

    Args:
        model: the Keras model.
        task: as of `verify_tflite`.
        ask: gives its outputs for many inputs, called where its ending does not show.
    """
    task = marked_task(model) if task is None else task
    # What tfmot wraps shows neither mark nor ending.
    shown = (model.plain() or model) if isinstance(model, BridgedModel) else model
    task = marked_task(shown) if task is None else task
    if task is None and len(output_shape_of(model)) != 1:
        return None
    return reading_of(shown, task, ask)


def _agreement(reading, expected, outputs):
    """The agreement of two networks' outputs, in [0, 1]; None if nobody knows how to read them."""
    if reading is None:
        return None
    agreement = reading.task.agreement(reading(expected), reading(outputs))
    return float(np.mean(np.asarray(agreement, "float64")))


def _range(outputs):
    """How far outputs are apart; never 0, and not less than a thousandth of their size."""
    return max(float(np.ptp(outputs)), 1e-3 * float(np.abs(outputs).max()), 1e-6)


def _on_real_data(content, model, evaluation_data, reading):
    """The figures of a `TFLiteCheck` that need labels."""
    if reading is None:
        raise ValueError(
            f"`task` is needed to measure {model.name!r} on `evaluation_data`: its output shape is "
            f"{model.output_shape}. Give a subclass of tfkd.tasks.Task that says what it means."
        )
    x, labels = _checked(evaluation_data, model, reading.task)
    outputs, expected = run_tflite(content, x), answers(model, x)
    scores, model_scores = (reading.task.score(reading(each), labels) for each in (outputs, expected))
    return {
        "scores": scores,
        "model_scores": model_scores,
        "accuracy": scores.get("accuracy"),
        "model_accuracy": model_scores.get("accuracy"),
        "real_agreement": _agreement(reading, expected, outputs),
    }


def _checked(evaluation_data, model, task):
    x, labels = as_pair(evaluation_data, len(model.input_shape) - 1)
    expected = f"images (n, {', '.join(map(str, model.input_shape[1:]))}) and their labels"
    if x.shape[1:] != tuple(model.input_shape[1:]) or not len(x):
        raise ValueError(f"`evaluation_data` must be {expected}. Received: shape {x.shape}.")
    try:
        return x, task.check_labels(labels, len(x), "labels")
    except ValueError as error:
        raise ValueError(f"`evaluation_data` must be {expected}; {error}") from error


def run_tflite(file: bytes | str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """The outputs a TFLite file gives for float images or other inputs.

    Args:
        file: its path, or its content.
        images: `(n, height, width, channels)` in [0, 1], or inputs of another shape that the file takes;
            quantized here if it takes int8.

    Returns:
        float32 outputs `(n, ...)`, dequantized if the file returns int8.

    Raises:
        TypeError: if the file takes floats, quantized or not, and the images are not.
        ValueError: if they are of another shape than the file takes.
    """
    images = np.asarray(images)
    content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    network = TFLiteFile(content)
    if network.takes_floats and not np.issubdtype(images.dtype, np.floating):
        raise TypeError(
            f"`images` must be floats in [0, 1]. Received: {images.dtype}. Divide uint8 images by 255."
        )
    if images.shape[1:] != network.input_shape[1:]:
        raise ValueError(
            f"`images` must be of shape (n, {', '.join(map(str, network.input_shape[1:]))}), as the file "
            f"takes them. Received: {images.shape}."
        )
    return network(images)[0]


def _latency_ms(content, threads):
    file = TFLiteFile(content, threads)
    # The interpreter keeps this input.
    file(np.zeros((1, *file.input_shape[1:]), "float32"))
    seconds = []
    for _ in range(_WARMUP_RUNS + _TIMED_RUNS):
        start = time.perf_counter()
        file.interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[_WARMUP_RUNS:]) * 1000)
