"""TFLite files from Keras models: float, half, dynamic range, full integer and sparse."""

import os
from collections.abc import Sequence

import keras
import numpy as np

from generators import probe_images
from tfkd._core import files
from tfkd._core.runtimes import TFLiteFile, require_litert
from tfkd.compression import BridgedModel, is_quantization_aware, sparsity, strip
from tfkd.export._conversion import convert
from tfkd.export._metadata import description, with_metadata
from tfkd.export._verification import TFLiteCheck, verify_tflite

QUANTIZATIONS = ("float32", "dynamic", "float16", "int8")
_IMAGES = 256


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike | None,
    quantization: str = "float32",
    representative_data: np.ndarray | None = None,
    interface: str = "float32",
    evaluation_data: tuple[np.ndarray, np.ndarray] | None = None,
    verification_data: np.ndarray | None = None,
    sparse: bool = False,
    min_agreement: float = 0.0,
    labels: Sequence[str] | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
) -> TFLiteCheck:
    """Converts a model to a TFLite file, runs the file and compares it with the model.

    The file takes one image at a time. Nothing is written unless conversion and check succeed.

    Args:
        model: a Keras model from images to logits, or a student of `tfkd.compression`: pruned and clustered
            ones are stripped, quantization-aware ones bring the ranges they learned.
        path: the file to write, usually ending in `.tflite`; None to check without writing.
        quantization: "float32"; "dynamic" (int8 weights, float arithmetic); "float16" (half-size
            weights); or "int8" (weights, activations and arithmetic), which is all that a
            quantization-aware student can be.
        representative_data: images `(n, height, width, channels)` that "int8" takes its ranges from, as
            floats on the model's scale, for instance `distiller.synthesize(256)`; None for images of the
            procedural generators.
        interface: "float32" or "int8", what an "int8" file takes and returns.
        evaluation_data: real `(images, labels)` to measure accuracy on as well; None for none.
        verification_data: images on which file and model are compared, best others of the same kind;
            None for the representative ones, or for other procedural images where there are none.
        sparse: whether kernels of many zeros are stored without them ("float32" and "float16" only), which
            makes the file itself small; a dense file of a pruned model is small once it is zipped.
        min_agreement: share of images on which file and model have to predict the same class, in [0, 1];
            a file below is an error.
        labels: names of the classes, written into the file.
        input_range: the lowest and highest value of inputs, likewise; procedural images have it, too.

    Returns:
        A `TFLiteCheck` with agreement, differences, accuracy, sizes and latency.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        TypeError: if `labels` is a single name, or images are no floats.
        ValueError: for an unknown option, a model of several inputs or outputs, data of another shape than
            the model takes, a model that takes no images if none are given, one without zeros for a sparse
            file, or one that is quantized in part only for an interface of 8 bits.
        RuntimeError: if the converter refuses the model (the message names operators that it lacks), or
            file and model agree too little.
        OSError: if the file cannot be written.

    Example:
        >>> check = tfkd.export.export_tflite(student, "student.tflite", quantization="int8",
        ...                                   representative_data=distiller.synthesize(256))
        >>> print(check.agreement, check.size_bytes)
    """
    require_litert()
    _check_options(quantization, interface, sparse, min_agreement)
    _check_ends(model)
    learned = is_quantization_aware(model)
    if learned and quantization != "int8":
        raise ValueError(
            f"`quantization`: {model.name!r} is quantization-aware, so its file is 'int8'. Received: "
            f"{quantization!r}. Export tfkd.compression.strip(model) for other kinds."
        )
    if isinstance(model, BridgedModel) and not learned:
        model = strip(model)
    if sparse and not sparsity(model):
        raise ValueError(f"`sparse`: {model.name!r} has no zeros. Prune it first (tfkd.compression.prune).")
    described = description(labels, input_range, model.output_shape[-1])
    low, high = described["input_range"]

    def images_of(data, name, seed):
        return (
            low + (high - low) * _procedural(model, name, seed)
            if data is None
            else _images(model, data, name)
        )

    calibration = None if learned else images_of(representative_data, "representative_data", 0)
    content = convert(model, quantization, calibration, interface, sparse)
    _check_interface(content, interface, model)
    content = with_metadata(content, described)
    compared = representative_data if verification_data is None else verification_data
    images = images_of(compared, "verification_data", 1)
    check = verify_tflite(content, model, images, evaluation_data)
    if check.agreement < min_agreement:
        raise RuntimeError(
            f"The {quantization} TFLite file of {model.name!r} predicts what the model does on "
            f"{check.agreement:.2%} of images, below `min_agreement` {min_agreement:.2%}; it was not "
            "written. Try other representative_data, quantize_aware training, or 'float16'."
        )
    if path is not None:
        files.write_bytes(path, content)
    return check


def _check_options(quantization, interface, sparse, min_agreement):
    if quantization not in QUANTIZATIONS:
        raise ValueError(
            f"`quantization` must be one of {', '.join(QUANTIZATIONS)}. Received: {quantization!r}."
        )
    if interface not in ("float32", "int8"):
        raise ValueError(f"`interface` must be 'float32' or 'int8'. Received: {interface!r}.")
    if interface == "int8" and quantization != "int8":
        raise ValueError(f"`interface='int8'` needs quantization='int8'. Received: {quantization!r}.")
    if sparse and quantization not in ("float32", "float16"):
        raise ValueError(
            "`sparse`: the runtime has no sparse kernels of 8 bits, so it needs quantization 'float32' or "
            f"'float16'. Received: {quantization!r}. Zip the dense file instead; zeros take no room there."
        )
    if not 0 <= min_agreement <= 1:
        raise ValueError(f"`min_agreement` must be between 0 and 1. Received: {min_agreement!r}.")


def _check_ends(model):
    # A black box, or a model of code, tells its shapes only.
    for what in ("inputs", "outputs"):
        tensors = getattr(model, what, None) or ()
        if len(tensors) > 1:
            raise ValueError(
                f"`model`: {model.name!r} has {len(tensors)} {what}; files lead from images to logits. "
                "Build a keras.Model of one input and one output around it."
            )


def _check_interface(content, interface, model):
    """A model that is quantized in part has floats where its first or last layer computes in float."""
    kinds = TFLiteFile(content).dtypes
    if any(kind != interface for kind in kinds):
        raise ValueError(
            f"`interface`: the file of {model.name!r} takes and returns {' and '.join(kinds)}, since "
            "layers at its ends compute in float (tfkd.compression.float_layers). Use interface='float32'."
        )


def _procedural(model, name, seed):
    shape = tuple(model.input_shape[1:])
    if len(shape) not in (2, 3):
        raise ValueError(
            f"`{name}` is needed: {model.name!r} takes inputs of shape {shape}, which are no images "
            "that the procedural generators could make."
        )
    return probe_images(model, _IMAGES, seed)


def _images(model, data, name):
    shape = tuple(model.input_shape[1:])
    data = np.asarray(data)
    takes = [tensor.dtype for tensor in getattr(model, "inputs", None) or ()] or ["float32"]
    if keras.backend.is_float_dtype(takes[0]) and not keras.backend.is_float_dtype(str(data.dtype)):
        raise TypeError(
            f"`{name}` must be floats on the scale that the model takes, as `input_range` says it. "
            f"Received: {data.dtype}."
        )
    data = data.astype("float32")
    if data.shape[1:] != shape or not len(data):
        raise ValueError(
            f"`{name}` must be images of shape (n, {', '.join(map(str, shape))}). Received: {data.shape}."
        )
    return data
