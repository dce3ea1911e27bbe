"""TFLite files from Keras models: float, half, dynamic range and full integer."""

import os

import keras
import numpy as np
import tensorflow as tf

from tfkd import files
from tfkd.black_box_files import require_litert
from tfkd.export.verification import TFLiteCheck, verify_tflite
from tfkd.probing import probe_images

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
) -> TFLiteCheck:
    """Converts a model to a TFLite file, runs the file and compares it with the model.

    The file takes one image at a time. Nothing is written unless conversion and check succeed.

    Args:
        model: a Keras model from images (in [0, 1]) to logits.
        path: the file to write, usually ending in `.tflite`; None to check without writing.
        quantization: "float32"; "dynamic" (int8 weights, float arithmetic); "float16" (half-size
            weights); or "int8" (weights, activations and arithmetic).
        representative_data: images `(n, height, width, channels)` that "int8" takes its ranges from,
            for instance `distiller.synthesize(256)`; None for images of the procedural generators.
        interface: "float32" or "int8", what an "int8" file takes and returns.
        evaluation_data: real `(images, labels)` to measure accuracy on as well; None for none.
        verification_data: images on which file and model are compared, best others of the same kind;
            None for the representative ones, or for other procedural images where there are none.

    Returns:
        A `TFLiteCheck` with agreement, differences, accuracy, size and latency.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        ValueError: for an unknown option, or data of another shape than the model takes.
        RuntimeError: if the converter refuses the model; the message holds its reason.
        OSError: if the file cannot be written.

    Example:
        >>> check = tfkd.export.export_tflite(student, "student.tflite", quantization="int8",
        ...                                   representative_data=distiller.synthesize(256))
        >>> print(check.agreement, check.size_bytes)
    """
    require_litert()
    _check_options(quantization, interface)
    calibration = _images(model, representative_data, "representative_data", seed=0)
    content = _convert(model, quantization, calibration, interface)
    compared = representative_data if verification_data is None else verification_data
    images = _images(model, compared, "verification_data", seed=1)
    check = verify_tflite(content, model, images, evaluation_data)
    if path is not None:
        files.write_bytes(path, content)
    return check


def _check_options(quantization, interface):
    if quantization not in QUANTIZATIONS:
        raise ValueError(
            f"`quantization` must be one of {', '.join(QUANTIZATIONS)}. Received: {quantization!r}."
        )
    if interface not in ("float32", "int8"):
        raise ValueError(f"`interface` must be 'float32' or 'int8'. Received: {interface!r}.")
    if interface == "int8" and quantization != "int8":
        raise ValueError(f"`interface='int8'` needs quantization='int8'. Received: {quantization!r}.")


def _images(model, data, name, seed):
    shape = tuple(model.input_shape[1:])
    if data is None:
        return probe_images(model, _IMAGES, seed)
    data = np.asarray(data, "float32")
    if data.shape[1:] != shape or not len(data):
        raise ValueError(
            f"`{name}` must be images of shape (n, {', '.join(map(str, shape))}). Received: {data.shape}."
        )
    return data


def _convert(model, quantization, images, interface):
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), "float32", name="image")]
    serve = tf.function(lambda image: {"logits": model(image, training=False)}, input_signature=signature)
    # What the converter freezes are the TensorFlow variables inside Keras's.
    trackable = tf.Module()
    trackable.frozen = [variable.value for variable in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], trackable)
    if quantization != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8":
        converter.representative_dataset = lambda: ([image[None]] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.as_dtype(interface)
        converter.inference_output_type = tf.as_dtype(interface)
    try:
        return converter.convert()
    except Exception as error:
        raise RuntimeError(
            f"TFLite cannot represent model {model.name!r} as {quantization}: {error}"
        ) from error
