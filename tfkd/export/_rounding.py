"""The best of files with rounded kernels: as they were, with corrected biases, or of learned kernels."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
from keras import tree

from tfkd._core.asking import answers
from tfkd.compression._reconstruction import Learning
from tfkd.compression._rounding import Rounding, corrected_biases
from tfkd.export._examples import Inputs
from tfkd.export._verification import run_tflite

_INPUTS = 64
# Files that are off by less than this share of the spread of outputs have nothing to gain.
_EXACT = 0.01
# Bits of the kernels of convolutions and dense layers in the kinds of files whose biases are corrected.
KERNEL_BITS = {"int8": 8, "int16x8": 8, "w4a8": 4, "int4": 4}
# Those whose values between layers are rounded to 8 bits.
_VALUES_OF_8_BITS = ("int8", "w4a8")
# What has to be left of the distance for other kernels or biases to be worth it; less may be chance.
_GAIN = 0.9


class Rounded(NamedTuple):
    """A file with rounded kernels.

    Args:
        content: the file.
        plain: the file without what was done for it; None if that is the file.
        learned: whether the rounding of its kernels was learned.
    """

    content: bytes
    plain: bytes | None = None
    learned: bool = False


def better_rounded(
    make: Callable[[], bytes],
    model: keras.Model,
    inputs: Inputs,
    plain: bytes,
    quantization: str = "int8",
    learning: Learning | None = None,
) -> Rounded:
    """A file made of a model, with corrected biases if that brings it clearly nearer to the model.

    Args:
        make: makes the file of the model as it is now.
        model: the model; its weights are afterwards as they were.
        inputs: what the file is calibrated by. The first 64 tell how biases are corrected, the last 64
            which file is nearer.
        plain: the content of the file without correction.
        quantization: what kind it is, one of `KERNEL_BITS`.
        learning: how kernels are learned for another file, which is taken if it is clearly nearer still;
            None for no such file.
    """
    judging = tree.map_structure(lambda array: array[-_INPUTS:], inputs)
    expected = answers(model, judging)

    def distance(content):
        return float(np.sqrt(np.mean((run_tflite(content, judging) - expected) ** 2)))

    best, least = Rounded(plain), distance(plain)
    # NaN compares as false: there is nothing to correct either.
    if not least > _EXACT * float(np.std(expected)):
        return best
    bits, of_values = KERNEL_BITS[quantization], quantization in _VALUES_OF_8_BITS
    for way in [None] if learning is None else [None, learning]:
        with corrected_biases(model, inputs, Rounding(bits, of_values, way)) as changed:
            content = make() if changed else plain
        if (left := distance(content)) < _GAIN * least:
            best, least = Rounded(content, plain, way is not None), left
    return best
