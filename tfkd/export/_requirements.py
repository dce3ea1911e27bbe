"""Checks of an export's options and of the exported file."""

import warnings

import keras
import numpy as np

from tfkd._core.checks import check_choice
from tfkd._core.named_inputs import TOKENS
from tfkd._core.runtimes import TFLiteFile
from tfkd._core.token_marks import tokenizer_of
from tfkd.compression import is_quantization_aware
from tfkd.export._conversion import CALIBRATED
from tfkd.export._examples import Inputs
from tfkd.export._low_bits import LOW_BITS
from tfkd.export._rounding import KERNEL_BITS
from tfkd.export._vocabulary import Vocabulary, VocabularyHolder, tokens_of
from tfkd.tasks import Reading

INTERFACES = ("float32", "int8", "uint8")
QUANTIZATIONS = ("float32", "dynamic", "float16", "int8", "int16x8", *LOW_BITS)
AUTO = "auto"
# The largest allowed difference between the outputs of a float file and the model, as a fraction of
# their range.
FLOAT_DIFFERENCE = 0.01
# Rounded weights change outputs. If a model's outputs hardly vary, the limit is a fraction of their size.
ROUNDED_DIFFERENCES = {"float16": 0.05, "dynamic": 0.25}


def chosen_quantization(quantization: str | None, model: keras.Model, texts: bool) -> str:
    """The quantization to use for a model.

    Args:
        quantization: one of `QUANTIZATIONS`; None or "auto" selects one that suits the model.
        model: the network.
        texts: whether the network takes texts.

    Raises:
        ValueError: if `quantization` is unknown.
    """
    if quantization is None or quantization == AUTO:
        if is_quantization_aware(model):
            return "int8"
        return "dynamic" if texts else "float32"
    if quantization not in QUANTIZATIONS:
        raise ValueError(
            f"`quantization` must be one of {', '.join(QUANTIZATIONS)}, or {AUTO!r}. Received: "
            f"{quantization!r}."
        )
    return quantization


def check_options(quantization: str, interface: str, sparse: bool, min_agreement: float) -> None:
    """Raises ValueError for options that cannot be combined."""
    check_choice("interface", interface, INTERFACES)
    if interface != "float32" and quantization != "int8":
        raise ValueError(
            f"`interface={interface!r}` needs quantization='int8'. Received: {quantization!r}."
        )
    if sparse and quantization not in ("float32", "float16"):
        raise ValueError(
            "`sparse` needs quantization 'float32' or 'float16', since the runtime has no sparse 8-bit "
            f"kernels. Received: {quantization!r}. Zip the dense file instead: zeros compress to almost "
            "nothing."
        )
    if not 0 <= min_agreement <= 1:
        raise ValueError(f"`min_agreement` must be between 0 and 1. Received: {min_agreement!r}.")


def check_rounding(learned: bool, quantization: str, model: keras.Model, inputs: Inputs | None) -> None:
    """Raises ValueError if rounding cannot be learned for this kind of file."""
    if not learned:
        return
    if quantization not in KERNEL_BITS:
        raise ValueError(
            f"`learn_rounding` works only with quantization {', '.join(KERNEL_BITS)}. Received: "
            f"quantization={quantization!r}. Leave it out."
        )
    if is_quantization_aware(model):
        raise ValueError(
            f"`learn_rounding`: {model.name!r} is quantization-aware and has learned its rounding already. "
            "Leave it out, or export tfkd.compression.strip(model)."
        )
    if quantization not in CALIBRATED and inputs is None:
        raise ValueError(
            f"`learn_rounding` with quantization {quantization!r} needs `representative_data`."
        )


def warn_of_rounded_texts(quantization: str, name: str) -> None:
    """Warns if the activations of a text model are rounded without quantization-aware training."""
    if quantization in CALIBRATED:
        warnings.warn(
            f"`quantization={quantization!r}` rounds the activations of the text model {name!r} after "
            "training. This usually costs transformers several points of accuracy and makes them slower. "
            "'dynamic' gives files of the same size; for int8, train with tfkd.compression.quantize_aware.",
            stacklevel=3,
        )


def check_weights(network: keras.Model) -> None:
    """Raises RuntimeError for weights that are not finite."""
    if not all(np.isfinite(weight.numpy()).all() for weight in network.weights if weight.dtype != "string"):
        raise RuntimeError(
            f"Weights of {network.name!r} are NaN or infinite, so the file was not written. Go back to a "
            "model from before training diverged (tfkd.callbacks.KeepLastGood keeps one)."
        )


def check_task(reading: Reading | None, network: keras.Model, min_agreement: float) -> None:
    """Raises ValueError if a minimum agreement is required but the task is unknown."""
    if reading is None and min_agreement > 0:
        raise ValueError(
            f"`min_agreement` needs a `task`: {network.name!r} returns outputs of shape "
            f"{network.output_shape}, whose meaning is unknown. Pass a subclass of tfkd.tasks.Task."
        )


def check_vocabulary(vocabulary: Vocabulary | None, texts: Inputs, model: keras.Model) -> None:
    """Raises ValueError or TypeError if a vocabulary does not match the texts.

    Args:
        vocabulary: a tokenizer, or a list of tokens by id; None for none.
        texts: rows of integers, by name.
        model: the model that takes the texts.
    """
    if vocabulary is None or not isinstance(texts, dict) or TOKENS not in texts:
        return
    theirs = tokenizer_of(model)
    if isinstance(vocabulary, VocabularyHolder) and theirs not in (None, vocabulary.fingerprint):
        raise ValueError(
            f"`vocabulary` comes from another tokenizer ({vocabulary.fingerprint}) than the one of "
            f"{model.name!r} ({theirs}). Pass the tokenizer that the model was trained with."
        )
    known, highest = len(tokens_of(vocabulary)), int(texts[TOKENS].max())
    if highest >= known:
        raise ValueError(
            f"`vocabulary` has {known} tokens, but the texts that {model.name!r} is compared on contain id "
            f"{highest}. Pass the tokenizer that produced these texts."
        )


def check_interface(content: bytes, interface: str, model: keras.Model) -> None:
    """Raises ValueError if a file's inputs or outputs are not of the requested dtype.

    A partly quantized model takes or returns floats if its first or last layer computes in float.
    """
    kinds = TFLiteFile(content).interface
    if any(kind != interface for kind in kinds):
        raise ValueError(
            f"`interface`: the file of {model.name!r} takes and returns {' and '.join(kinds)}, since its "
            "first or last layer computes in float (tfkd.compression.float_layers). Use "
            "interface='float32'."
        )


def check_result(
    check, model: keras.Model, expected: np.ndarray, min_agreement: float, reading: Reading | None
) -> None:
    """Raises RuntimeError if a file does not compute the same as the model.

    Args:
        check: a `TFLiteCheck`.
        model: the model that the file was made from.
        expected: the model's outputs for the inputs that both were compared on.
        min_agreement: the lowest allowed agreement of the file and the model, in [0, 1].
        reading: the interpretation of outputs; None if it is unknown.
    """
    if not np.isfinite(check.max_difference):
        raise RuntimeError(
            f"Outputs of {model.name!r}, or of its {check.quantization} TFLite file, are NaN or infinite, "
            "so the file was not written. Check the model's weights and the inputs used for the comparison."
        )
    share, allowed, of_what = _difference(check, expected)
    if not share <= allowed:
        raise RuntimeError(
            f"The {check.quantization} TFLite file of {model.name!r} does not compute the same as the "
            f"model: outputs differ by up to {check.max_difference:.3g}, {share:.2%} of their {of_what}, "
            f"but only {allowed:.0%} is allowed; the file was not written. Replace random or custom "
            "layers; if there are none, replace a layer that the runtime computes wrongly, such as a "
            "convolution with unusual strides."
        )
    if reading is not None and check.agreement < min_agreement:
        of_images = (
            reading.task.examples == "inputs" and len(keras.tree.flatten(model.inputs)[0].shape) == 4
        )
        text = reading.task.agreement_text(
            f"{check.agreement:.2%}", "images" if of_images else reading.task.examples
        )
        raise RuntimeError(
            f"The {check.quantization} TFLite file of {model.name!r} and the model {text}, below "
            f"`min_agreement` {min_agreement:.2%}; the file was not written. Try other "
            "representative_data, quantization-aware training, or quantization='float16'."
        )


def _difference(check, expected):
    """The largest difference of outputs, its limit, and the unit of both: "range" or "size"."""
    if check.quantization == "float32":
        return check.relative_difference, FLOAT_DIFFERENCE, "range"
    size = max(float(np.ptp(expected)), float(np.abs(expected).max()), 1e-6)
    return check.max_difference / size, ROUNDED_DIFFERENCES.get(check.quantization, np.inf), "size"
