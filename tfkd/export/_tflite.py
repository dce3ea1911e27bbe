"""TFLite files from Keras models: float, half, dynamic range, full integer and sparse."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfkd._core import files
from tfkd._core.asking import answers
from tfkd._core.checks import check_choice
from tfkd._core.precision import in_float32
from tfkd._core.runtimes import TFLiteFile, require_litert
from tfkd.compression import BridgedModel, is_quantization_aware, sparsity, strip
from tfkd.export._conversion import CALIBRATED, convert
from tfkd.export._inputs import inputs_for
from tfkd.export._metadata import description, limits, with_metadata
from tfkd.export._rounding import better_rounded
from tfkd.export._subject import trained_network, with_known_sides
from tfkd.export._verification import TFLiteCheck, compared, find_reading
from tfkd.tasks import Task, marked_task

INTERFACES = ("float32", "int8", "uint8")
QUANTIZATIONS = ("float32", "dynamic", "float16", "int8", "int16x8")
# How far outputs of a float file may be from the model's, as a share of their range.
FLOAT_DIFFERENCE = 0.01


def export_tflite(
    model: keras.Model,
    path: str | os.PathLike | None,
    quantization: str = "float32",
    representative_data: Any = None,
    interface: str = "float32",
    evaluation_data: Any = None,
    verification_data: Any = None,
    sparse: bool = False,
    min_agreement: float = 0.0,
    labels: Sequence[str] | None = None,
    input_range: tuple[float, float] = (0.0, 1.0),
    task: str | type[Task] | Task | None = None,
    image_shape: tuple[int, ...] | None = None,
) -> TFLiteCheck:
    """Converts a model to a TFLite file, runs the file and compares it with the model.

    The file takes one input at a time. Biases of "int8" and "int16x8" files make up for rounded kernels
    (bias correction) where that brings the file nearer to the model. Nothing is written unless conversion
    and check succeed. A "float32" file computes what the model does: its outputs must not differ by more
    than a hundredth of their range. The model must not be used by another thread meanwhile.

    Args:
        model: a Keras model from images or other inputs to outputs of any kind; a distiller, for its
            student; or a student of `tfkd.compression`: pruned and clustered ones are stripped,
            quantization-aware ones bring the ranges they learned. What computes in half precision is
            exported as it computes in float32.
        path: the file to write, usually ending in `.tflite`; None to check without writing.
        quantization: "float32"; "dynamic" (int8 weights, float arithmetic); "float16" (half-size
            weights); "int8" (weights, activations and arithmetic), which is all that a
            quantization-aware student can be; or "int16x8" (int8 weights, activations of 16 bits).
        representative_data: inputs `(n, ...)` that "int8" and "int16x8" take their ranges from, as floats
            on the model's scale, for instance `distiller.synthesize(256)`; or a `tf.data.Dataset`,
            `keras.utils.PyDataset`, generator or generator function of such inputs, single or in batches,
            labels left aside; None for images of the procedural generators.
        interface: "float32", "int8" or "uint8" (as cameras give images), what an "int8" file takes and
            returns.
        evaluation_data: real `(inputs, labels)` to measure on as well, labels as `verify_tflite` takes
            them, or a data set of such pairs; None for none.
        verification_data: inputs on which file and model are compared, best others of the same kind;
            None for the representative ones, or for other procedural images where there are none.
        sparse: whether kernels of many zeros are stored without them ("float32" and "float16" only), which
            makes the file itself small; a dense file of a pruned model is small once it is zipped.
        min_agreement: how far file and model have to agree, in [0, 1], as the task has it; a file below is
            an error.
        labels: names of the classes, labels or numbers, written into the file; of a binary classifier two,
            that of the class whose probability it returns last.
        input_range: the lowest and highest value of inputs, likewise; procedural images have it, too.
        task: what the outputs mean, as of `verify_tflite`; for a student best
            `tfkd.tasks.task_of(teacher)`.
        image_shape: of one input, `(height, width, channels)`, where the model leaves sides open.

    Returns:
        A `TFLiteCheck` with agreement, differences, scores, sizes and latency.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        TypeError: if `labels` is a single name, images are not floats, or `task` is not a task.
        ValueError: for an unknown option, a model of several inputs or outputs or of open sides, data of
            another shape than the model takes, a model that does not take images if no data are given, one
            without zeros for a sparse file, one that is quantized in part only for an interface of 8 bits,
            or a task or labels that are missing or do not fit.
        RuntimeError: if the converter refuses the model (the message names operators that it lacks) or
            dies of it, file and model agree too little, or a "float32" file computes something else than
            the model.
        OSError: if the file cannot be written.

    Example:
        >>> check = tfkd.export.export_tflite(student, "student.tflite", quantization="int8",
        ...                                   representative_data=distiller.synthesize(256))
        >>> print(check.agreement, check.size_bytes)

    Reference:
        Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, for
        the correction of biases, here by means over the calibration inputs.
    """
    require_litert()
    _check_options(quantization, interface, sparse, min_agreement)
    network = trained_network(model)
    # Stripping makes another model, which does not have the mark of this one.
    task = marked_task(network) if task is None else task
    network, learned = _plain_or_learned(network, quantization)
    network = with_known_sides(network, image_shape)
    if sparse and not sparsity(network):
        raise ValueError(
            f"`sparse`: {network.name!r} has no zeros. Prune it first (tfkd.compression.prune)."
        )
    _check_weights(network)
    with in_float32(network) as network:
        ends = limits(input_range)
        calibration = None
        if not learned and (quantization in CALIBRATED or representative_data is not None):
            calibration = inputs_for(network, representative_data, "representative_data", ends, 0)
        verifying = verification_data
        if verifying is None and representative_data is not None:
            # A stream has been read by now.
            verifying = representative_data if calibration is None else calibration
        images = inputs_for(network, verifying, "verification_data", ends, 1)
        expected = answers(network, images)
        reading = find_reading(network, task, lambda: expected)
        _check_task(reading, network, min_agreement)
        described = description(
            labels, input_range, reading.task.classes if reading else network.output_shape[-1]
        )

        def make():
            content = convert(network, quantization, calibration, interface, sparse)
            _check_interface(content, interface, network)
            return with_metadata(content, described)

        content, uncorrected = make(), None
        if calibration is not None and quantization in CALIBRATED:
            content, uncorrected = better_rounded(make, network, calibration, content)
        check = compared(content, network, images, expected, reading, evaluation_data, uncorrected)
        _check_result(check, network, quantization, min_agreement, reading)
    if path is not None:
        files.write_bytes(path, content)
    return check


def _check_weights(network):
    if not all(np.isfinite(weight.numpy()).all() for weight in network.weights if weight.dtype != "string"):
        raise RuntimeError(
            f"Weights of {network.name!r} are NaN or infinite; it was not written. Go back to a model from "
            "before training broke off (tfkd.callbacks.KeepLastGood keeps one)."
        )


def _check_task(reading, network, min_agreement):
    if reading is None and min_agreement > 0:
        raise ValueError(
            f"`min_agreement` needs a `task`: {network.name!r} returns {network.output_shape}, and nothing "
            "says what that means. Give a subclass of tfkd.tasks.Task."
        )


def _plain_or_learned(model, quantization):
    """The model without pruning and clustering, and whether it brings ranges that it has learned."""
    if not is_quantization_aware(model):
        return strip(model) if isinstance(model, BridgedModel) else model, False
    if quantization != "int8":
        raise ValueError(
            f"`quantization`: {model.name!r} is quantization-aware, so its file is 'int8'. Received: "
            f"{quantization!r}. Export tfkd.compression.strip(model) for other kinds."
        )
    return model, True


def _check_result(check, model, quantization, min_agreement, reading):
    """Raises RuntimeError for a file that does not do what the model does."""
    if not np.isfinite(check.max_difference):
        raise RuntimeError(
            f"Outputs of {model.name!r}, or of its {quantization} TFLite file, are NaN or infinite; it was "
            "not written. Check the model's weights, and the inputs that the two are compared on."
        )
    if quantization == "float32" and not check.relative_difference <= FLOAT_DIFFERENCE:
        raise RuntimeError(
            f"The float32 TFLite file of {model.name!r} computes something else than the model: outputs "
            f"differ by up to {check.max_difference:.3g}, {check.relative_difference:.2%} of their range, "
            f"where {FLOAT_DIFFERENCE:.0%} is allowed; it was not written. Check that the model's outputs "
            "are finite, and replace layers that are random or of your own."
        )
    if reading is not None and check.agreement < min_agreement:
        images = "images" if len(model.input_shape) == 4 else "inputs"
        text = reading.task.agreement_text(f"{check.agreement:.2%}", images)
        raise RuntimeError(
            f"The {quantization} TFLite file of {model.name!r} and the model {text}, below `min_agreement` "
            f"{min_agreement:.2%}; it was not written. Try other representative_data, quantize_aware "
            "training, or 'float16'."
        )


def _check_options(quantization, interface, sparse, min_agreement):
    if quantization not in QUANTIZATIONS:
        raise ValueError(
            f"`quantization` must be one of {', '.join(QUANTIZATIONS)}. Received: {quantization!r}."
        )
    check_choice("interface", interface, INTERFACES)
    if interface != "float32" and quantization != "int8":
        raise ValueError(
            f"`interface={interface!r}` needs quantization='int8'. Received: {quantization!r}."
        )
    if sparse and quantization not in ("float32", "float16"):
        raise ValueError(
            "`sparse`: the runtime has no sparse kernels of 8 bits, so it needs quantization 'float32' or "
            f"'float16'. Received: {quantization!r}. Zip the dense file instead; zeros take no room there."
        )
    if not 0 <= min_agreement <= 1:
        raise ValueError(f"`min_agreement` must be between 0 and 1. Received: {min_agreement!r}.")


def _check_interface(content, interface, model):
    """A model that is quantized in part has floats where its first or last layer computes in float."""
    file = TFLiteFile(content)
    # Integers that stand for themselves, such as words, are taken as they are.
    kinds = file.dtypes if file.takes_floats else file.dtypes[1:]
    if any(kind != interface for kind in kinds):
        raise ValueError(
            f"`interface`: the file of {model.name!r} takes and returns {' and '.join(kinds)}, since "
            "layers at its ends compute in float (tfkd.compression.float_layers). Use interface='float32'."
        )
