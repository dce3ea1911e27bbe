"""Converts Keras models to TFLite."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd._core import files, quiet
from tfkd.export._examples import Inputs, number_of
from tfkd.export._low_bits import LOW_BITS, with_low_bits
from tfkd.export._signature import is_named, signature

# The converter's message for operators that its runtime lacks.
_OPERATORS = re.compile(r"'?tf\.(\w+)' op is neither")
# Loops, and the lists that they fill. Calibrating them crashes the process with a segmentation fault.
_LOOPS = re.compile(r"(Stateless)?While|TensorList\w+")
CALIBRATED = ("int8", "int16x8", "w4a8")
_LONGEST_REASON = 300
_UNROLL = "Build recurrent layers with unroll=True, or export to 'dynamic' or 'float16'."


def convert(
    model: keras.Model,
    quantization: str,
    inputs: Inputs | None,
    interface: str = "float32",
    sparse: bool = False,
    outputs: Sequence[str] = ("logits",),
) -> bytes:
    """Converts a model to the content of a TFLite file that takes one example at a time.

    Models that may crash the converter are converted in a separate process.

    Args:
        model: a Keras model from images, or named inputs, to logits or numbers, with known input sizes.
        quantization: "float32", "dynamic", "float16", "int8", "int16x8", or an option of `with_low_bits`.
        inputs: calibration inputs for "int8", "int16x8" and "w4a8"; None if the model is quantization-aware
            and has its own ranges.
        interface: "float32", "int8" or "uint8", the dtype of an "int8" file's inputs and outputs.
        sparse: whether kernels with many zeros are stored in sparse form.
        outputs: names for the model's outputs.

    Returns:
        The bytes, with a signature from "image", or from the named inputs, to the outputs.

    Raises:
        ImportError: if the extra `aeq` is missing for a low-bit file.
        RuntimeError: if the converter rejects the model or crashes on it; the message names the operators
            that it lacks, or a remedy.
    """
    if quantization in LOW_BITS:
        content = convert(model, "float32", None, outputs=outputs)
        try:
            return with_low_bits(content, quantization, inputs)
        except ImportError:
            raise
        except Exception as error:
            raise RuntimeError(
                f"ai-edge-quantizer cannot convert model {model.name!r} to {quantization}: {_reason(error)}"
            ) from error
    takes, by_name = signature(model), is_named(model)

    def named(*tensors):
        x = dict(zip(takes, tensors, strict=True)) if by_name else tensors[0]
        return dict(zip(outputs, keras.tree.flatten(model(x, training=False)), strict=True))

    serve = tf.function(named, input_signature=list(takes.values()))
    concrete = serve.get_concrete_function()
    # The converter freezes the TensorFlow variables inside Keras's.
    trackable = _Variables([variable.value for variable in model.variables])
    may_crash = quantization in CALIBRATED and _has_loops(concrete.graph)
    options = {"quantization": quantization, "interface": interface, "sparse": sparse}
    try:
        if may_crash:
            trackable.serve = serve
            return _by_another_process(trackable, concrete, inputs, options)
        return converted(
            tf.lite.TFLiteConverter.from_concrete_functions([concrete], trackable), inputs, **options
        )
    except Exception as error:
        reason = _reason(error)
        if may_crash and _UNROLL not in reason:
            reason = f"{reason} {_UNROLL}"
        raise RuntimeError(
            f"TFLite cannot represent model {model.name!r} as {quantization}: {reason}"
        ) from error


def converted(
    converter: Any, inputs: Inputs | None, quantization: str, interface: str, sparse: bool
) -> bytes:
    """The output of a TFLite converter with the options of `convert`."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT] * (quantization != "float32")
    if sparse:
        converter.optimizations.append(tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if inputs is not None and quantization in CALIBRATED:
        converter.representative_dataset = lambda: _one_by_one(inputs)
        kinds = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            kinds.TFLITE_BUILTINS_INT8
            if quantization == "int8"
            else kinds.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    if quantization == "int8":
        converter.inference_input_type = tf.as_dtype(interface)
        converter.inference_output_type = tf.as_dtype(interface)
    with quiet.foreign_output():
        return converter.convert()


def _one_by_one(inputs):
    """Single examples as the converter takes them: lists of one input, or dictionaries."""
    for i in range(number_of(inputs)):
        if isinstance(inputs, dict):
            yield {name: array[i : i + 1] for name, array in inputs.items()}
        else:
            yield [inputs[i : i + 1]]


def _has_loops(graph):
    """Whether a graph, or a function that it calls, has loops."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for each in definition.library.function for node in each.node_def)]
    return any(_LOOPS.fullmatch(node.op) for node in nodes)


def _by_another_process(trackable, concrete, inputs, options):
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(trackable, os.path.join(folder, "model"), signatures=concrete)
        if inputs is not None:
            path = os.path.join(folder, "inputs.npz")
            if isinstance(inputs, dict):
                files.write_arrays(path, inputs)
            else:
                np.savez(path, inputs)
        pathlib.Path(folder, "options.json").write_text(json.dumps(options), encoding="utf-8")
        # The other process uses the same import path.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "tfkd.export._converting", folder]
        ended = subprocess.run(command, env=environment, capture_output=True, check=False)
        if ended.returncode < 0:
            raise RuntimeError(
                f"the converter crashed ({signal.Signals(-ended.returncode).name}), as it does on "
                f"recurrent layers with loops. {_UNROLL}"
            )
        if ended.returncode:
            raise RuntimeError(ended.stderr.decode(errors="replace"))
        return pathlib.Path(folder, "model.tflite").read_bytes()


class _Variables(tf.Module):
    """Holds variables so that the converter can find them."""

    def __init__(self, variables: list[tf.Variable]) -> None:
        super().__init__()
        self.frozen = variables
        self.serve: Any = None


def _reason(error):
    """The converter's error in one line: the operators that it lacks, or the last line of its message."""
    text = str(error)
    if operators := sorted(set(_OPERATORS.findall(text))):
        return f"it has no operator {', '.join(operators)}. Replace the layers that compute it."
    lines = [line.strip() for line in text.splitlines() if line.strip() and "loc(" not in line]
    return lines[-1][:_LONGEST_REASON] if lines else type(error).__name__
