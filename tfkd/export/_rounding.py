"""Selection of the best quantized file: plain, with corrected biases, or with learned rounding."""

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
# Files whose error is below this fraction of the outputs' standard deviation have nothing to gain.
_EXACT = 0.01
# Kernel bits of convolutions and dense layers, for each kind of file whose biases are corrected.
KERNEL_BITS = {"int8": 8, "int16x8": 8, "w4a8": 4, "int4": 4}
# Kinds of files whose activations are rounded to 8 bits.
_VALUES_OF_8_BITS = ("int8", "w4a8")
# Other kernels or biases are used only if they reduce the distance below this fraction of it; a smaller
# gain may be chance.
_GAIN = 0.9


class Rounded(NamedTuple):
    """A file with rounded kernels.

    Args:
        content: the file.
        plain: the file without corrected biases and learned rounding; None if `content` has neither.
        learned: whether the rounding of the kernels was learned.
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
    """A file made from a model, with corrected biases if this brings it clearly closer to the model.

    Args:
        make: makes the file from the model in its current state.
        model: the model; its weights are restored afterwards.
        inputs: the calibration inputs. The first 64 are used to correct biases, the last 64 to compare
            the files.
        plain: the content of the file without correction.
        quantization: the kind of file, one of `KERNEL_BITS`.
        learning: options for a further file with learned rounding, which is used if it is clearly closer
            still; None for no such file.
    """
    judging = tree.map_structure(lambda array: array[-_INPUTS:], inputs)
    expected = answers(model, judging)

    def distance(content):
        return float(np.sqrt(np.mean((run_tflite(content, judging) - expected) ** 2)))

    best, least = Rounded(plain), distance(plain)
    # NaN compares as false; then there is nothing to correct either.
    if not least > _EXACT * float(np.std(expected)):
        return best
    bits, of_values = KERNEL_BITS[quantization], quantization in _VALUES_OF_8_BITS
    for way in [None] if learning is None else [None, learning]:
        with corrected_biases(model, inputs, Rounding(bits, of_values, way)) as changed:
            content = make() if changed else plain
        if (left := distance(content)) < _GAIN * least:
            best, least = Rounded(content, plain, way is not None), left
    return best
