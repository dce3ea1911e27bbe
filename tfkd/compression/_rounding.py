"""Networks as files of few bits round them, with what keeps their answers: biases, and learned kernels."""

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
# What a pass may hold at once, in times the bytes of its inputs.
_PASS_BYTES, _INSIDE = 2**30, 16


class Rounding(NamedTuple):
    """How a network is rounded.

    Args:
        bits: of the kernels of dense layers and convolutions, depthwise and transposed ones apart, which
            have 8.
        values: whether what flows between layers is rounded to 8 bits, too.
        learning: how kernels are learned; None for the nearest values.
    """

    bits: int = 8
    values: bool = True
    learning: Learning | None = None


NEAREST = Rounding()


@contextlib.contextmanager
def corrected_biases(model: keras.Model, inputs: Any, rounding: Rounding = NEAREST) -> Iterator[bool]:
    """Biases that make up, inside the block, for what a converter will round to 8 bits, or to fewer.

    Rounding kernels shifts the mean of what a layer gives; rounding its values does so behind the next
    activation; and the shifts add up from layer to layer. Each bias of a convolution or dense layer, and
    beta of each batch normalization, is lowered by the shift of its mean over the inputs, layer by layer in
    the order of computation, so that each sees what comes out of those corrected before it.

    Args:
        model: any Keras model; its weights are as they were after the block.
        inputs: `(n, ...)`, or several by name, what the means are taken over, 64 at most.
        rounding: what a converter rounds. Learned kernels stay inside the block; others are as they were,
            for the converter to round.

    Returns:
        A context manager that yields whether there is anything to correct or learned.

    Reference:
        Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and
        Bias Correction", 2019, section 4.2. Means are those of inputs, not of what batch normalizations
        know of them, so that any network can be corrected.
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
    """Gives a model the kernels of a file of few bits, and biases that make up for them.

    Args:
        model: any Keras model; its kernels and biases are changed.
        inputs: as of `corrected_biases`.
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
    # What is put around a call first is nearest to it: values are rounded before kernels are learned by
    # them, and biases are corrected for what was learned.
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
    """The first of some inputs, 64 at most, as many as go through a network at once, as tensors."""
    of_one = sum(array[:1].nbytes for array in tree.flatten(inputs))
    most = max(_FEWEST, min(_INPUTS, _PASS_BYTES // (_INSIDE * of_one)))
    return tree.map_structure(lambda array: ops.convert_to_tensor(array[:most]), inputs)


def _layers(model):
    """The layers with kernels to round, and those with a bias to correct."""
    every = flatten_layers(model)
    carriers = [layer for layer in every if bias_of(layer) is not None]
    return [layer for layer in every if kernels_of(layer)], carriers


def _takers(model):
    """The layers that take values from memory, where they are rounded, not right from the layer before."""
    kinds = (*KINDS, layers.Add, layers.Multiply, layers.Concatenate, layers.GlobalAveragePooling2D)
    return [layer for layer in flatten_layers(model) if type(layer) in kinds]


def _note_mean(means, layer, call, *args, **kwargs):
    means.setdefault(id(layer), []).append(mean(linear(layer, *args, **kwargs)))
    return call(*args, **kwargs)


def _note_ranges(ranges, layer, call, *args, **kwargs):
    """Notes the lowest and highest value of what flows into a layer, 0 among them, by place."""
    for place, values in enumerate(tree.flatten(args[0])):
        low, high = float(ops.min(values)), float(ops.max(values))
        known = ranges.get((id(layer), place), (0.0, 0.0))
        ranges[id(layer), place] = min(low, known[0]), max(high, known[1])
    return call(*args, **kwargs)


def _take_rounded(ranges, layer, call, *args, **kwargs):
    """Calls a layer with inputs rounded by their ranges, where these are known."""
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
