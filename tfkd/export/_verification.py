"""Runs a TFLite file and says how it compares with the model it was made from."""

import dataclasses
import gzip
import os
import pathlib
import time

import keras
import numpy as np

from tfkd._core.runtimes import TFLiteFile

_WARMUP_RUNS = 10
_TIMED_RUNS = 100


@dataclasses.dataclass(frozen=True)
class TFLiteCheck:
    """How a TFLite file compares with its Keras model.

    Attributes:
        size_bytes: size of the file.
        gzip_bytes: its size zipped by gzip, as app stores send it.
        latency_ms: median time of one image at one thread, in milliseconds, with XNNPACK.
        latency_2_threads_ms: the same at two threads.
        agreement: share of synthetic images on which both predict the same class.
        max_difference: largest difference of a logit on those images.
        accuracy: share of real images classified correctly; None without real data.
        model_accuracy: the same for the Keras model.
        real_agreement: share of real images on which both predict the same class.
    """

    size_bytes: int
    gzip_bytes: int
    latency_ms: float
    latency_2_threads_ms: float
    agreement: float
    max_difference: float
    accuracy: float | None = None
    model_accuracy: float | None = None
    real_agreement: float | None = None


def verify_tflite(
    content: bytes,
    model: keras.Model,
    images: np.ndarray,
    evaluation_data: tuple[np.ndarray, np.ndarray] | None = None,
) -> TFLiteCheck:
    """Compares a TFLite file with the model it was made from.

    Args:
        content: the file's bytes.
        model: the Keras model.
        images: synthetic images `(n, height, width, channels)`.
        evaluation_data: real `(images, labels)`, labels as class numbers, or None.

    Returns:
        A `TFLiteCheck`.

    Raises:
        ValueError: if the evaluation data do not fit the model.
    """
    logits = run_tflite(content, images)
    expected = model.predict(images, verbose=0)
    real = {}
    if evaluation_data is not None:
        x, y = _checked(evaluation_data, model)
        predicted = run_tflite(content, x).argmax(-1)
        model_predicted = model.predict(x, batch_size=256, verbose=0).argmax(-1)
        real = {
            "accuracy": float(np.mean(predicted == y)),
            "model_accuracy": float(np.mean(model_predicted == y)),
            "real_agreement": float(np.mean(predicted == model_predicted)),
        }
    return TFLiteCheck(
        size_bytes=len(content),
        # Without a time stamp, so that the size is the same each time.
        gzip_bytes=len(gzip.compress(content, mtime=0)),
        latency_ms=_latency_ms(content, threads=1),
        latency_2_threads_ms=_latency_ms(content, threads=2),
        agreement=float(np.mean(logits.argmax(-1) == expected.argmax(-1))),
        max_difference=float(np.abs(logits - expected).max()),
        **real,
    )


def _checked(evaluation_data, model):
    x, y = (np.asarray(array) for array in evaluation_data)
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if x.shape[1:] != tuple(model.input_shape[1:]) or y.shape != x.shape[:1]:
        raise ValueError(
            "`evaluation_data` must be images (n, "
            f"{', '.join(map(str, model.input_shape[1:]))}) and n class numbers. Received: shapes "
            f"{x.shape} and {y.shape}. Take the argmax of one-hot labels."
        )
    return x, y


def run_tflite(file: bytes | str | os.PathLike, images: np.ndarray) -> np.ndarray:
    """The logits a TFLite file gives for float images.

    Args:
        file: its path, or its content.
        images: `(n, height, width, channels)` in [0, 1]; quantized here if the file takes int8.

    Returns:
        float32 logits `(n, classes)`, dequantized if the file returns int8.

    Raises:
        TypeError: if the images are no floats.
        ValueError: if they are of another shape than the file takes.
    """
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise TypeError(
            f"`images` must be floats in [0, 1]. Received: {images.dtype}. Divide uint8 images by 255."
        )
    content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    network = TFLiteFile(content)
    if images.shape[1:] != network.input_shape[1:]:
        raise ValueError(
            f"`images` must be of shape (n, {', '.join(map(str, network.input_shape[1:]))}), as the file "
            f"takes them. Received: {images.shape}."
        )
    return network(images)[0]


def _latency_ms(content, threads):
    file = TFLiteFile(content, threads)
    # The interpreter keeps this image as its input.
    file(np.zeros((1, *file.input_shape[1:]), "float32"))
    seconds = []
    for _ in range(_WARMUP_RUNS + _TIMED_RUNS):
        start = time.perf_counter()
        file.interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[_WARMUP_RUNS:]) * 1000)
