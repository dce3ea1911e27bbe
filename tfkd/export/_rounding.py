"""The better of two files with rounded kernels: biases as they were, or corrected."""

from collections.abc import Callable

import keras
import numpy as np
from keras import tree

from tfkd._core.asking import answers
from tfkd.export._bias_correction import corrected_biases
from tfkd.export._examples import Inputs
from tfkd.export._verification import run_tflite

_INPUTS = 64
# Files that are off by less than this share of the spread of outputs have nothing to gain.
_EXACT = 0.01
# Bits of the kernels of convolutions and dense layers in the kinds of files whose biases are corrected.
KERNEL_BITS = {"int8": 8, "int16x8": 8, "w4a8": 4, "int4": 4}
# What has to be left of the distance for corrected biases to be worth it; less may be chance.
_GAIN = 0.9


def better_rounded(
    make: Callable[[], bytes], model: keras.Model, inputs: Inputs, plain: bytes, quantization: str = "int8"
) -> tuple[bytes, bytes | None]:
    """A file made of a model, with corrected biases if that brings it clearly nearer to the model.

    Args:
        make: makes the file of the model as it is now.
        model: the model; its weights are afterwards as they were.
        inputs: what the file is calibrated by. The first 64 tell how biases are corrected, the last 64
            which file is nearer.
        plain: the content of the file without correction.
        quantization: what kind it is, one of `KERNEL_BITS`.

    Returns:
        The file's content, and that of the one without correction; None where that is the file.
    """
    judging = tree.map_structure(lambda array: array[-_INPUTS:], inputs)
    expected = answers(model, judging)

    def distance(content):
        return float(np.sqrt(np.mean((run_tflite(content, judging) - expected) ** 2)))

    before = distance(plain)
    # NaN compares as false: there is nothing to correct either.
    if not before > _EXACT * float(np.std(expected)):
        return plain, None
    with corrected_biases(model, inputs, kernel_bits=KERNEL_BITS[quantization]) as changed:
        corrected = make() if changed else plain
    if not distance(corrected) < _GAIN * before:
        return plain, None
    return corrected, plain
