"""Runs a TFLite file and compares it with the model it was made from."""

import dataclasses
import gzip
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd._core.asking import answers
from tfkd._core.compiled_model import compiled_outputs
from tfkd._core.runtimes import TFLiteFile
from tfkd.compression import BridgedModel
from tfkd.export._evaluation_data import evaluation_pair
from tfkd.export._examples import Inputs
from tfkd.export._inputs import given_inputs, most_compared
from tfkd.export._signature import PADDING_MASK, declared_inputs, takes_texts
from tfkd.export._subject import with_known_sides
from tfkd.tasks import LanguageModel, Reading, Task, marked_task, output_shape_of, reading_of

_WARMUP_RUNS = 10
_TIMED_RUNS = 100
_COMPILED_INPUTS = 64


@dataclasses.dataclass(frozen=True)
class TFLiteCheck:
    """Comparison of a TFLite file with its Keras model.

    Attributes:
        size_bytes: the size of the file.
        gzip_bytes: the size of the file compressed with gzip, as app stores deliver it.
        latency_ms: the median time for one example, such as a sentence padded to the file's length, on one
            thread, in milliseconds, with XNNPACK.
        latency_2_threads_ms: the same on two threads.
        agreement: the agreement of the outputs of both on the compared inputs, in [0, 1], as the task
            defines it: the fraction of equal classes, labels or real tokens, the cosine of embeddings, or
            the closeness of numbers; None without a task.
        max_difference: the largest difference of an output on those inputs.
        accuracy: the fraction of real examples, or of their labels, that the file predicts correctly; None
            without real data and for regression.
        model_accuracy: the accuracy of the Keras model.
        real_agreement: the agreement on real inputs.
        real_examples: the number of real examples measured (for language models limited by the memory
            that outputs need); 0 without real data.
        scores: the task's metrics of the file on real data, by name; empty without real data.
        model_scores: the task's metrics of the Keras model on real data.
        bias_corrected: whether biases were corrected for the rounding of kernels.
        uncorrected_agreement: the agreement of the file without this correction; None if nothing was
            corrected.
        rounding_learned: whether the rounding of the kernels was learned.
        relative_difference: `max_difference` as a fraction of the range of the model's outputs.
        quantization: the quantization of the file, if it was made by `export_tflite`; else None.
        compiled_difference: the largest difference between the outputs of LiteRT's `CompiledModel`, which
            runs files on newer phones, and those of its interpreter, as a fraction of the range of the
            model's outputs; None if LiteRT has no `CompiledModel`, or if it rejects the file. Values above
            0.02 are not caused by rounding, and reports say so.
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
    real_examples: int = 0
    scores: dict[str, float] = dataclasses.field(default_factory=dict)
    model_scores: dict[str, float] = dataclasses.field(default_factory=dict)
    relative_difference: float = 0.0
    bias_corrected: bool = False
    uncorrected_agreement: float | None = None
    quantization: str | None = None
    compiled_difference: float | None = None
    rounding_learned: bool = False


def verify_tflite(
    content: bytes,
    model: keras.Model,
    images: Inputs,
    evaluation_data: Any = None,
    task: str | type[Task] | Task | None = None,
) -> TFLiteCheck:
    """Compares a TFLite file with the model it was made from.

    Args:
        content: the content of the file.
        model: the Keras model.
        images: inputs `(n, ...)` of the model, or a dictionary of them by name; texts are padded to the
            file's length.
        evaluation_data: real `(inputs, labels)`, a data set of such pairs, or None. Depending on the task,
            labels are class numbers, 0 or 1 for each of several labels, numbers, token ids or vectors.
        task: the task of the model, as a name, class or object of `tfkd.tasks`. None for the task that the
            model is marked with, as teachers from `tfkd.load_teacher` are; without a mark, a softmax or
            several linear outputs are classes, one sigmoid is a binary classifier's probability, several
            sigmoids are labels, and one linear output is a number. Outputs with several axes have a task
            only if one is given.

    Returns:
        A `TFLiteCheck`.

    Raises:
        TypeError: if `task` is not a task.
        ValueError: if the task or the evaluation data do not fit the model.
    """
    # A wrapper with another text length does not have the model's task mark.
    task = marked_task(model) if task is None else task
    if takes_texts(declared_inputs(model, images)):
        length = next(iter(TFLiteFile(content).input_shapes.values()))[1]
        model = with_known_sides(model, None, length, images)
        images = given_inputs(model, images, "images")
    expected = answers(model, images)
    reading = find_reading(model, task, lambda: expected)
    return compared(content, model, images, expected, reading, evaluation_data)


def compared(
    content: bytes,
    model: keras.Model,
    inputs: Inputs,
    expected: np.ndarray,
    reading: Reading | None,
    evaluation_data: Any = None,
    uncorrected: bytes | None = None,
    quantization: str | None = None,
    rounding_learned: bool = False,
) -> TFLiteCheck:
    """The result of `verify_tflite`, from outputs of the model that are already computed.

    Args:
        content: the content of the file.
        model: the Keras model.
        inputs: the inputs for the comparison, in the model's format.
        expected: the model's outputs for them.
        reading: the interpretation of outputs; None if it is unknown.
        evaluation_data: as in `verify_tflite`.
        uncorrected: the file without corrected biases; None if nothing was corrected.
        quantization: the quantization of the file.
        rounding_learned: whether the rounding of the kernels was learned.
    """
    outputs = run_tflite(content, inputs)
    mask = _counted(reading, inputs)
    differences = np.abs(outputs - expected)
    difference = float((differences if mask is None else differences[mask > 0]).max())
    return TFLiteCheck(
        size_bytes=len(content),
        # Without a time stamp, so that the size is reproducible.
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        latency_ms=_latency_ms(content, inputs, threads=1),
        latency_2_threads_ms=_latency_ms(content, inputs, threads=2),
        agreement=_agreement(reading, expected, outputs, inputs),
        max_difference=difference,
        relative_difference=difference / _range(expected),
        bias_corrected=uncorrected is not None,
        uncorrected_agreement=None
        if uncorrected is None
        else _agreement(reading, expected, run_tflite(uncorrected, inputs), inputs),
        quantization=quantization,
        rounding_learned=rounding_learned,
        compiled_difference=_compiled_difference(content, inputs, outputs, _range(expected)),
        **({} if evaluation_data is None else _on_real_data(content, model, evaluation_data, reading)),
    )


def find_reading(
    model: keras.Model, task: str | type[Task] | Task | None, ask: Callable[[], np.ndarray]
) -> Reading | None:
    """The interpretation of a model's outputs; None for outputs with several axes and an unknown task.

    Args:
        model: the Keras model.
        task: as in `verify_tflite`.
        ask: returns the model's outputs for many inputs; called only if its last activation is unknown.
    """
    task = marked_task(model) if task is None else task
    # A model wrapped by tfmot shows neither its task mark nor its last activation.
    shown = (model.plain() or model) if isinstance(model, BridgedModel) else model
    task = marked_task(shown) if task is None else task
    if task is None and len(output_shape_of(model)) != 1:
        return None
    return reading_of(shown, task, ask)


def _agreement(reading, expected, outputs, inputs):
    """The agreement of two networks' outputs, in [0, 1]; None if their interpretation is unknown."""
    if reading is None:
        return None
    mask = _counted(reading, inputs)
    options = {} if mask is None else {"mask": mask}
    agreement = reading.task.agreement(reading(expected), reading(outputs), **options)
    return float(np.mean(np.asarray(agreement, "float64")))


def _counted(reading, inputs):
    """The tokens that count, `(n, tokens)`; a language model's outputs for padding do not matter."""
    of_tokens = reading is not None and isinstance(reading.task, LanguageModel)
    if of_tokens and isinstance(inputs, Mapping) and PADDING_MASK in inputs:
        return np.asarray(inputs[PADDING_MASK])
    return None


def _compiled_difference(content, inputs, outputs, size):
    few = tree.map_structure(lambda array: np.asarray(array)[:_COMPILED_INPUTS], inputs)
    compiled = compiled_outputs(content, _as_taken(TFLiteFile(content), few))
    if compiled is None:
        return None
    return float(np.abs(compiled[0] - outputs[:_COMPILED_INPUTS]).max()) / size


def _range(outputs):
    """The range of outputs; never 0, and not less than a thousandth of their size."""
    return max(float(np.ptp(outputs)), 1e-3 * float(np.abs(outputs).max()), 1e-6)


def _on_real_data(content, model, evaluation_data, reading):
    """The metrics of a `TFLiteCheck` that need labels."""
    if reading is None:
        raise ValueError(
            f"`task` is needed to measure {model.name!r} on `evaluation_data`: its output shape is "
            f"{model.output_shape}. Pass a subclass of tfkd.tasks.Task that interprets such outputs."
        )
    x, labels = evaluation_pair(evaluation_data, model, reading.task)
    x, labels = tree.map_structure(lambda array: array[: most_compared(model)], (x, labels))
    outputs, expected = run_tflite(content, x), answers(model, x)
    scores, model_scores = (reading.task.score(reading(each), labels) for each in (outputs, expected))
    return {
        "scores": scores,
        "model_scores": model_scores,
        "accuracy": scores.get("accuracy"),
        "model_accuracy": model_scores.get("accuracy"),
        "real_agreement": _agreement(reading, expected, outputs, x),
        "real_examples": len(labels),
    }


def run_tflite(file: bytes | str | os.PathLike, images: Inputs) -> np.ndarray:
    """The outputs of a TFLite file for images, texts or other inputs.

    Args:
        file: the path of the file, or its content.
        images: `(n, height, width, channels)` in [0, 1], or inputs of another shape that the file takes;
            they are quantized here if the file takes int8. For a file with several inputs, a dictionary of
            arrays by the names in its signature, such as `token_ids` and `padding_mask`; other arrays are
            ignored.

    Returns:
        float32 outputs `(n, ...)`, dequantized if the file returns int8.

    Raises:
        TypeError: if the file takes floats, quantized or not, but the images are not floats.
        ValueError: if the shape of the inputs does not match the file, or an input is missing.

    Example:
        >>> tfkd.export.run_tflite("student.tflite", tokenizer(["a film"], length=64))
    """
    content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    network = TFLiteFile(content)
    return network(_as_taken(network, images))[0]


def _as_taken(file, inputs):
    """The checked inputs of a file, by name."""
    takes = file.input_shapes
    if not isinstance(inputs, Mapping):
        if len(takes) > 1:
            raise ValueError(
                f"`images` must be a dictionary of the file's inputs, {', '.join(takes)}. Received: "
                f"{type(inputs)}."
            )
        inputs = dict.fromkeys(takes, inputs)
    elif len(takes) == len(inputs) == 1:
        inputs = dict(zip(takes, inputs.values(), strict=True))
    if missing := [name for name in takes if name not in inputs]:
        raise ValueError(
            f"`images` must contain the file's inputs, {', '.join(takes)}. Received: {', '.join(inputs)}, "
            f"without {', '.join(missing)}."
        )
    arrays = {name: np.asarray(inputs[name]) for name in takes}
    for name, array in arrays.items():
        if file.takes_floats and not np.issubdtype(array.dtype, np.floating) and len(takes) == 1:
            raise TypeError(
                f"`images` must be floats in [0, 1]. Received: {array.dtype}. Divide uint8 images by 255."
            )
        if array.shape[1:] != takes[name][1:]:
            called = "`images`" if len(takes) == 1 else f"{name!r} of `images`"
            raise ValueError(
                f"{called} must be of shape (n, {', '.join(map(str, takes[name][1:]))}), the shape in the "
                f"file. Received: {array.shape}."
            )
    return arrays


def _latency_ms(content, inputs, threads):
    file = TFLiteFile(content, threads)
    # The interpreter keeps this input. It is a real one, since zeros would be nothing but padding.
    file(_as_taken(file, tree.map_structure(lambda array: np.asarray(array)[:1], inputs)))
    seconds = []
    for _ in range(_WARMUP_RUNS + _TIMED_RUNS):
        start = time.perf_counter()
        file.interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[_WARMUP_RUNS:]) * 1000)
