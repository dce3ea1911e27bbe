"""Weights of 4 and 2 bits, by ai-edge-quantizer from files of floats."""

import contextlib
import importlib
import io

from tfkd._core import quiet
from tfkd._core.extras import require
from tfkd.export._calibration import by_signature, inputs_of_file
from tfkd.export._examples import Inputs

LOW_BITS = ("int4", "w4a8", "int2")
_PACKAGE, _ANY = "ai_edge_quantizer", ".*"


def require_quantizer(quantization: str) -> None:
    """Raises ImportError, with the remedy, where a kind of file needs the extra `aeq` and it is missing."""
    if quantization in LOW_BITS:
        require(f"{_PACKAGE}.quantizer", "aeq", f"A TFLite file of kind {quantization!r}")


def with_low_bits(content: bytes, quantization: str, inputs: Inputs | None) -> bytes:
    """A TFLite file of floats with weights of few bits.

    Kernels have a scale for each channel. Operations that LiteRT cannot run in so few bits keep 8 bits or
    stay in float.

    Args:
        content: the file, of floats.
        quantization: "int4", whose convolutions and dense layers have weights of 4 bits and arithmetic as
            in "dynamic" files; "w4a8", the same weights with activations of 8 bits; or "int2", "int4"
            with dense layers of 2 bits.
        inputs: what the ranges of "w4a8" are taken from.

    Returns:
        The file's bytes; floats go in and come out.

    Raises:
        ImportError: if the extra `aeq` is missing.
    """
    require_quantizer(quantization)
    quantizer = _module("quantizer").Quantizer(content, _recipe(quantization))
    # Its bar of progress goes to standard error.
    with contextlib.redirect_stderr(io.StringIO()), quiet.foreign_output():
        ranges = None
        if inputs is not None and quantizer.need_calibration:
            examples = by_signature(inputs_of_file(content, inputs))
            ranges = quantizer.calibrate(examples, num_threads=1)
        quantized = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(quantized.quantized_model)


def _module(name):
    """A module of the extra, which not everybody has."""
    return importlib.import_module(f"{_PACKAGE}.{name}")


def _recipe(quantization):
    operations, recipe = _module("qtyping").TFLOperationName, _module("recipe_manager").RecipeManager()
    if quantization == "w4a8":
        recipe.add_static_config(_ANY, operations.ALL_SUPPORTED, 8, 8)
        for operation in (operations.CONV_2D, operations.FULLY_CONNECTED):
            recipe.add_static_config(_ANY, operation, 8, 4)
        for end in (operations.INPUT, operations.OUTPUT):
            recipe.add_quantization_config(_ANY, end, algorithm_key="no_quantize")
    else:
        recipe.add_dynamic_config(_ANY, operations.ALL_SUPPORTED, 8)
        # Convolutions of 2 bits gave infinite values in LiteRT 2.3.
        recipe.add_dynamic_config(_ANY, operations.CONV_2D, 4)
        for operation in (operations.FULLY_CONNECTED, operations.EMBEDDING_LOOKUP):
            recipe.add_dynamic_config(_ANY, operation, 2 if quantization == "int2" else 4)
    return recipe.get_quantization_recipe()
