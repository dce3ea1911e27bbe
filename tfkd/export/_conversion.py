"""Keras models in TFLite's format."""

import re

import keras
import numpy as np
import tensorflow as tf

from tfkd._core import quiet

# How the converter names operators that its runtime lacks.
_OPERATORS = re.compile(r"'?tf\.(\w+)' op is neither")


def convert(
    model: keras.Model,
    quantization: str,
    images: np.ndarray | None,
    interface: str = "float32",
    sparse: bool = False,
) -> bytes:
    """A model as the content of a TFLite file that takes one image at a time.

    Args:
        model: a Keras model from images to logits.
        quantization: "float32", "dynamic", "float16" or "int8".
        images: what the ranges of "int8" are taken from; None if the model is quantization-aware and
            brings its own.
        interface: "float32" or "int8", what an "int8" file takes and returns.
        sparse: whether kernels of many zeros are stored without them.

    Returns:
        The bytes, with a signature from "image" to "logits".

    Raises:
        RuntimeError: if the converter refuses the model; the message names operators that it lacks.
    """
    signature = [tf.TensorSpec((1, *model.input_shape[1:]), "float32", name="image")]
    serve = tf.function(lambda image: {"logits": model(image, training=False)}, input_signature=signature)
    # What the converter freezes are the TensorFlow variables inside Keras's.
    trackable = _Variables([variable.value for variable in model.variables])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], trackable)
    converter.optimizations = [tf.lite.Optimize.DEFAULT] * (quantization != "float32")
    if sparse:
        converter.optimizations.append(tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8":
        converter.inference_input_type = tf.as_dtype(interface)
        converter.inference_output_type = tf.as_dtype(interface)
        if images is not None:
            converter.representative_dataset = lambda: ([image[None]] for image in images)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        with quiet.foreign_output():
            return converter.convert()
    except Exception as error:
        raise RuntimeError(
            f"TFLite cannot represent model {model.name!r} as {quantization}: {_reason(error)}"
        ) from error


class _Variables(tf.Module):
    """Holds variables where the converter finds them."""

    def __init__(self, variables: list[tf.Variable]) -> None:
        super().__init__()
        self.frozen = variables


def _reason(error):
    operators = sorted(set(_OPERATORS.findall(str(error))))
    if not operators:
        return error
    return f"it has no operator {', '.join(operators)}. Replace the layers that compute it."
