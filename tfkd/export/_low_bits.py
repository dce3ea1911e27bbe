"""Quantizes float files to weights of 4 and 2 bits with ai-edge-quantizer."""

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
    """Raises ImportError, with the remedy, if a quantization needs the missing extra `aeq`."""
    if quantization in LOW_BITS:
        require(f"{_PACKAGE}.quantizer", "aeq", f"A TFLite file of kind {quantization!r}")


def with_low_bits(content: bytes, quantization: str, inputs: Inputs | None) -> bytes:
    """Quantizes a float TFLite file to low-bit weights.

    Kernels have a scale for each channel. Operations that LiteRT cannot run with so few bits keep 8 bits or
    stay in float.

    Args:
        content: the content of the float file.
        quantization: "int4" for 4-bit weights in convolutions and dense layers, with arithmetic as in
            "dynamic" files; "w4a8" for the same weights with 8-bit activations; or "int2" for "int4" with
            2-bit dense layers.
        inputs: calibration inputs for "w4a8".

    Returns:
        The bytes of a file with float inputs and outputs.

    Raises:
        ImportError: if the extra `aeq` is missing.
    """
    require_quantizer(quantization)
    quantizer = _module("quantizer").Quantizer(content, _recipe(quantization))
    # Its progress bar goes to standard error.
    with contextlib.redirect_stderr(io.StringIO()), quiet.foreign_output():
        ranges = None
        if inputs is not None and quantizer.need_calibration:
            examples = by_signature(inputs_of_file(content, inputs))
            ranges = quantizer.calibrate(examples, num_threads=1)
        quantized = quantizer.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(quantized.quantized_model)


def _module(name):
    """A module of the optional package."""
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
        # 2-bit convolutions gave infinite values in LiteRT 2.3.
        recipe.add_dynamic_config(_ANY, operations.CONV_2D, 4)
        for operation in (operations.FULLY_CONNECTED, operations.EMBEDDING_LOOKUP):
            recipe.add_dynamic_config(_ANY, operation, 2 if quantization == "int2" else 4)
    return recipe.get_quantization_recipe()
