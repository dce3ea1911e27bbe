"""What options of an export must be, and what its file must do."""

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
# How far outputs of a float file may be from the model's, as a share of their range.
FLOAT_DIFFERENCE = 0.01
# Rounded weights move outputs; of a model whose outputs hardly vary, by a share of their size.
ROUNDED_DIFFERENCES = {"float16": 0.05, "dynamic": 0.25}


def chosen_quantization(quantization: str | None, model: keras.Model, texts: bool) -> str:
    """The kind of file that is meant.

    Args:
        quantization: one of `QUANTIZATIONS`; None or "auto" for what suits the model.
        model: the network.
        texts: whether it takes texts.

    Raises:
        ValueError: for another kind.
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
    """Raises ValueError for options that do not go together."""
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


def check_rounding(learned: bool, quantization: str, model: keras.Model, inputs: Inputs | None) -> None:
    """Raises ValueError if rounding is to be learned for a file that does not take it."""
    if not learned:
        return
    if quantization not in KERNEL_BITS:
        raise ValueError(
            f"`learn_rounding` is for files of {', '.join(KERNEL_BITS)}, whose kernels have one way to be "
            f"rounded. Received: quantization={quantization!r}. Leave it out."
        )
    if is_quantization_aware(model):
        raise ValueError(
            f"`learn_rounding`: {model.name!r} is quantization-aware and has learned its rounding already. "
            "Leave it out, or export tfkd.compression.strip(model)."
        )
    if quantization not in CALIBRATED and inputs is None:
        raise ValueError(
            f"`learn_rounding` of {quantization!r} needs `representative_data`, inputs to learn from."
        )


def warn_of_rounded_texts(quantization: str, name: str) -> None:
    """Warns of 8-bit activations that a text model was not trained with."""
    if quantization in CALIBRATED:
        warnings.warn(
            f"`quantization={quantization!r}` rounds the activations of {name!r}, which takes texts, after "
            "training: transformers usually lose several points by it and get slower. 'dynamic' has files "
            "of the same size; for int8 train with tfkd.compression.quantize_aware.",
            stacklevel=3,
        )


def check_weights(network: keras.Model) -> None:
    """Raises RuntimeError for weights that are not finite."""
    if not all(np.isfinite(weight.numpy()).all() for weight in network.weights if weight.dtype != "string"):
        raise RuntimeError(
            f"Weights of {network.name!r} are NaN or infinite; it was not written. Go back to a model from "
            "before training broke off (tfkd.callbacks.KeepLastGood keeps one)."
        )


def check_task(reading: Reading | None, network: keras.Model, min_agreement: float) -> None:
    """Raises ValueError for an agreement that is asked for where nobody knows how to read outputs."""
    if reading is None and min_agreement > 0:
        raise ValueError(
            f"`min_agreement` needs a `task`: {network.name!r} returns {network.output_shape}, and nothing "
            "says what that means. Give a subclass of tfkd.tasks.Task."
        )


def check_vocabulary(vocabulary: Vocabulary | None, texts: Inputs, model: keras.Model) -> None:
    """Raises ValueError, or TypeError, for tokens that are not those of texts.

    Args:
        vocabulary: a tokenizer, or the tokens by id; None for none.
        texts: rows of integers, by name.
        model: what takes them.
    """
    if vocabulary is None or not isinstance(texts, dict) or TOKENS not in texts:
        return
    theirs = tokenizer_of(model)
    if isinstance(vocabulary, VocabularyHolder) and theirs not in (None, vocabulary.fingerprint):
        raise ValueError(
            f"`vocabulary` is of another tokenizer ({vocabulary.fingerprint}) than {model.name!r} reads "
            f"the ids of ({theirs}). Give the tokenizer that it was trained with."
        )
    known, highest = len(tokens_of(vocabulary)), int(texts[TOKENS].max())
    if highest >= known:
        raise ValueError(
            f"`vocabulary` has {known} tokens, and the texts that {model.name!r} is compared on have id "
            f"{highest}. Give the tokenizer that they come from."
        )


def check_interface(content: bytes, interface: str, model: keras.Model) -> None:
    """Raises ValueError for a file that takes or returns other numbers than were asked for.

    A model that is quantized in part has floats where its first or last layer computes in float.
    """
    kinds = TFLiteFile(content).interface
    if any(kind != interface for kind in kinds):
        raise ValueError(
            f"`interface`: the file of {model.name!r} takes and returns {' and '.join(kinds)}, since "
            "layers at its ends compute in float (tfkd.compression.float_layers). Use interface='float32'."
        )


def check_result(
    check, model: keras.Model, expected: np.ndarray, min_agreement: float, reading: Reading | None
) -> None:
    """Raises RuntimeError for a file that does not do what the model does.

    Args:
        check: a `TFLiteCheck`.
        model: what the file was made of.
        expected: the model's outputs for what the two were compared on.
        min_agreement: share of inputs on which both have to agree.
        reading: how outputs are read; None if nobody knows.
    """
    if not np.isfinite(check.max_difference):
        raise RuntimeError(
            f"Outputs of {model.name!r}, or of its {check.quantization} TFLite file, are NaN or infinite; "
            "it was not written. Check the model's weights, and the inputs that the two are compared on."
        )
    share, allowed, of_what = _difference(check, expected)
    if not share <= allowed:
        raise RuntimeError(
            f"The {check.quantization} TFLite file of {model.name!r} computes something else than the "
            f"model: outputs differ by up to {check.max_difference:.3g}, {share:.2%} of their {of_what}, "
            f"where {allowed:.0%} is allowed; it was not written. Replace layers that are random or of "
            "your own; if there are none, one that the runtime computes wrongly, such as a convolution of "
            "unusual strides."
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
            f"`min_agreement` {min_agreement:.2%}; it was not written. Try other representative_data, "
            "quantize_aware training, or 'float16'."
        )


def _difference(check, expected):
    """The largest difference of outputs, how large it may be, and what both are shares of."""
    if check.quantization == "float32":
        return check.relative_difference, FLOAT_DIFFERENCE, "range"
    size = max(float(np.ptp(expected)), float(np.abs(expected).max()), 1e-6)
    return check.max_difference / size, ROUNDED_DIFFERENCES.get(check.quantization, np.inf), "size"
