"""Rounds networks as low-bit files do, and compensates with corrected biases and learned kernels."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras import layers, ops, tree

from tfkd._core import progress
from tfkd._core.interposing import visiting
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.snapshots import Snapshot
from tfkd.compression._kernels import KINDS, bias_of, kernels_of, linear, mean, round_kernels
from tfkd.compression._reconstruction import Learning

_INPUTS, _FEWEST = 64, 8
# The memory limit of a pass, and its estimated size as a multiple of the inputs.
_PASS_BYTES, _INSIDE = 2**30, 16


class Rounding(NamedTuple):
    """How a network is rounded.

    Args:
        bits: the bits of kernels of dense layers and convolutions; depthwise and transposed convolutions
            always have 8.
        values: whether values between layers are also rounded to 8 bits.
        learning: how kernels are learned; None for rounding to the nearest values.
    """

    bits: int = 8
    values: bool = True
    learning: Learning | None = None


NEAREST = Rounding()


@contextlib.contextmanager
def corrected_biases(model: keras.Model, inputs: Any, rounding: Rounding = NEAREST) -> Iterator[bool]:
    """Inside the block, corrects biases for the rounding to 8 or fewer bits that a converter will do.

    Rounding kernels shifts the mean of a layer's outputs; rounding its values does so after the next
    activation; and the shifts add up from layer to layer. Each bias of a convolution or dense layer, and
    the beta of each batch normalization, is reduced by the shift of its mean over the inputs, layer by
    layer in the order of computation, so that each layer sees the outputs of those corrected before it.

    Args:
        model: any Keras model; its weights are restored after the block.
        inputs: the inputs for the means, `(n, ...)`, or several by name; at most 64 are used.
        rounding: what the converter rounds. Learned kernels are set inside the block; the converter rounds
            the others.

    Returns:
        A context manager that yields whether anything was corrected or learned.

    Reference:
        Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and
        Bias Correction", 2019, section 4.2. Deviation: means are computed over inputs, not from batch
        normalization, so that any network can be corrected.
    """
    weighted, carriers = _layers(model)
    if not weighted or not (carriers or rounding.learning):
        yield False
        return
    biases = Snapshot([bias_of(layer) for layer in carriers])
    kernels = Snapshot([kernel for layer in weighted for kernel in kernels_of(layer)])
    try:
        round_network(model, inputs, rounding)
        if rounding.learning is None:
            kernels.restore()
        yield True
    finally:
        biases.restore()
        kernels.restore()


def round_network(model: keras.Model, inputs: Any, rounding: Rounding) -> None:
    """Rounds a model's kernels as in a low-bit file, and corrects its biases for that.

    Args:
        model: any Keras model; its kernels and biases are changed.
        inputs: as for `corrected_biases`.
        rounding: what is rounded, and how.
    """
    weighted, carriers = _layers(model)
    inputs = few(inputs)
    takers = _takers(model) if rounding.values else []
    learned = None if rounding.learning is None else rounding.learning.of(weighted, rounding.bits)
    means: dict[int, list] = {}
    ranges: dict[tuple[int, int], tuple[float, float]] = {}
    float_pass: list[Any] = [
        (takers, functools.partial(_note_ranges, ranges)),
        (carriers, functools.partial(_note_mean, means)),
    ]
    if learned is not None:
        noted = {id(layer): layer for layer in [*weighted, *carriers]}
        float_pass.append((list(noted.values()), learned.note))
    with visiting(*float_pass):
        model(inputs, training=False)
    known = {key: each[0] for key, each in means.items() if len(each) == 1}
    # The first wrapper of a call is the innermost: values are rounded before the rounding of kernels is
    # learned from them, and biases are corrected for the learned kernels.
    rounded_pass: list[Any] = [(carriers, functools.partial(_correct, known))]
    for layer in weighted:
        if learned is None or layer not in learned:
            round_kernels(layer, rounding.bits)
    learning = [] if learned is None else list(learned)
    what = "learning how kernels are rounded" if learning else "correcting biases"
    with progress.work(what, len(learning) or None) as done:
        if learned is not None:
            rounded_pass.append((learning, functools.partial(_learn, learned, done)))
        rounded_pass.append((takers, functools.partial(_take_rounded, ranges)))
        with visiting(*rounded_pass):
            model(inputs, training=False)


def _learn(learned, done, layer, call, *args, **kwargs):
    given = learned.learn(layer, call, *args, **kwargs)
    done()
    return given


def few(inputs: Any) -> Any:
    """The first inputs as tensors: at most 64, or as many as fit through a network at once."""
    of_one = sum(array[:1].nbytes for array in tree.flatten(inputs))
    most = max(_FEWEST, min(_INPUTS, _PASS_BYTES // (_INSIDE * of_one)))
    return tree.map_structure(lambda array: ops.convert_to_tensor(array[:most]), inputs)


def _layers(model):
    """The layers with kernels to round, and those with a bias to correct."""
    every = flatten_layers(model)
    carriers = [layer for layer in every if bias_of(layer) is not None]
    return [layer for layer in every if kernels_of(layer)], carriers


def _takers(model):
    """The layers that read rounded values from memory, not directly from the layer before."""
    kinds = (*KINDS, layers.Add, layers.Multiply, layers.Concatenate, layers.GlobalAveragePooling2D)
    return [layer for layer in flatten_layers(model) if type(layer) in kinds]


def _note_mean(means, layer, call, *args, **kwargs):
    means.setdefault(id(layer), []).append(mean(linear(layer, *args, **kwargs)))
    return call(*args, **kwargs)


def _note_ranges(ranges, layer, call, *args, **kwargs):
    """Records the range, including 0, of each input of a layer."""
    for place, values in enumerate(tree.flatten(args[0])):
        low, high = float(ops.min(values)), float(ops.max(values))
        known = ranges.get((id(layer), place), (0.0, 0.0))
        ranges[id(layer), place] = min(low, known[0]), max(high, known[1])
    return call(*args, **kwargs)


def _take_rounded(ranges, layer, call, *args, **kwargs):
    """Calls a layer with inputs rounded by their ranges, if these are known."""
    rounded = []
    for place, values in enumerate(tree.flatten(args[0])):
        known = ranges.get((id(layer), place))
        rounded.append(values if known is None else _rounded(values, *known))
    return call(tree.pack_sequence_as(args[0], rounded), *args[1:], **kwargs)


def _rounded(values, low, high):
    step = max(high - low, 1e-12) / 255
    zero = round(-low / step)
    return (ops.clip(ops.round(values / step) + zero, 0, 255) - zero) * step


def _correct(means, layer, call, *args, **kwargs):
    if id(layer) in means and (bias := bias_of(layer)) is not None:
        shift = mean(linear(layer, *args, **kwargs)) - means[id(layer)]
        bias.assign(ops.cast(ops.cast(bias, "float32") - shift, bias.dtype))
    return call(*args, **kwargs)
