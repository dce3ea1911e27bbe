"""Cross-layer equalization: equal channel ranges in a network with the same outputs."""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_weights, has_graph, operation_of, trainable_config
from tfkd._core.interposing import visiting
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_model
from tfkd.compression._channel_spaces import (
    DEPTHWISE,
    SUMMARIES,
    Space,
    all_calls,
    channel_spaces,
    is_relu6,
    is_scaled,
    window_first,
)
from tfkd.compression._rounding import few

# Maximum number of rounds over all spaces, and the deviation of factors from 1 at which to stop.
_ROUNDS, _ENOUGH = 40, 1e-3
# Hardly any value of a channel is more than this many standard deviations below its mean.
_DEVIATIONS = 3.0
_TINY = 1e-12
# Layers whose outputs shift with their inputs, as for a ReLU above 0.
_KEEPING = (*SUMMARIES, layers.ReLU)


def equalize_layers(
    model: keras.Model,
    inputs: Any = None,
    absorb_biases: bool = False,
    replace_relu6: bool = False,
) -> keras.Model:
    """Makes a copy of a model whose channels have equal ranges.

    Each channel is divided by a factor in the layers that produce it, and multiplied by it in the layers
    that consume it, so the network computes the same function. This applies to channels that are produced
    by convolutions, dense layers and batch normalization, and consumed by convolutions and dense layers,
    with only ReLU, leaky ReLU, additions, pooling or padding in between. The channels of a residual stream
    are scaled together, if all layers that read or write them allow it. Channels with ReLU6 or any other
    layer in between are not changed.

    Args:
        model: a functional or built Sequential Keras 3 model, with or without nested models; it is not
            changed.
        inputs: `(n, ...)`, or several by name; at most 64 are used. If given, the ranges of the values
            are equalized, for files with per-channel kernel scales but one scale for all values
            between two layers. None equalizes the ranges of kernels, for files with one scale per kernel.
        absorb_biases: whether biases that lift a channel above 0 are moved to the next layer, which makes
            the ranges of values smaller: by the amount by which its mean is more than three standard
            deviations above 0, according to its batch normalization. The outputs change slightly, by values
            below that (0.1 % of them if they are normal). Residual streams, and layers that pad their
            inputs, are not changed.
        replace_relu6: whether to replace each ReLU6 by a ReLU. The outputs change if values are above 6:
            compare the two models.

    Returns:
        A model with the same layers, except for replaced ReLU6. Without `absorb_biases` and
        `replace_relu6` its outputs are the same up to rounding errors.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if its graph is not known, or it has no channels to scale.

    Example:
        >>> equal = tfkd.compression.equalize_layers(model, images)
        >>> check = tfkd.export.export_tflite(equal, "model.tflite", "int8", representative_data=images)

    Reference:
        Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and
        Bias Correction", ICCV 2019, sections 4.1 and 4.1.3. Deviations: batch normalization layers are
        kept, and kernels are treated as if these were folded into them; ranges are ranges of absolute
        values; residual streams, ranges of values, and keeping ReLU6 are additions.
    """
    check_keras_model("model", model)
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {model.name!r} "
            f"({type(model).__name__}), whose graph is not known."
        )
    equal = _copy(model, replace_relu6)
    spaces = channel_spaces(equal)
    if not spaces:
        with_6 = any(is_relu6(layer) for layer in flatten_layers(equal))
        remedy = " Try replace_relu6=True." if with_6 else ""
        raise ValueError(f"`model`: {model.name!r} has no channels to scale.{remedy}")
    norms = _norms_behind(equal)
    if inputs is None:
        for _ in range(_ROUNDS):
            if max(_equalize_kernels(space, norms) for space in spaces) < _ENOUGH:
                break
    else:
        _equalize_values(equal, spaces, inputs)
    if absorb_biases:
        for space in spaces:
            _absorb(space, norms)
    return equal


def _copy(model, replace_relu6):
    def copied(layer):
        config = trainable_config(layer)
        if replace_relu6 and is_relu6(layer):
            config |= {"max_value": None} if type(layer) is layers.ReLU else {"activation": "relu"}
        return remade(layer, config)

    copy = cloned_model(model, clone_function=copied, recursive=True)
    copy_weights(model, copy)
    return copy


def _norms_behind(root):
    """The batch normalization directly after each layer with a kernel, by layer id; and the reverse."""
    behind: dict[int, Any] = {}
    before: dict[int, Any] = {}
    for call in all_calls(root):
        if type(call.operation) is layers.BatchNormalization:
            layer = operation_of(call.input_tensors[0])[0]
            if is_scaled(layer) and layer.activation is keras.activations.linear:
                behind[id(layer)], before[id(call.operation)] = call.operation, layer
    return behind, before


def _equalize_kernels(space, norms) -> float:
    """Equalizes the ranges of kernels; returns how far they were from equal."""
    made = np.max([_made(maker, norms) for maker in space.makers], 0)
    taken = np.max([_taken(taker, norms) for taker in space.takers], 0)
    alive = np.minimum(made, taken) > _TINY
    factors = np.where(alive, np.sqrt(made / np.maximum(taken, _TINY)), 1.0)
    _scale(space, factors.astype("float32"))
    return float(np.abs(np.log(factors)).max())


def _made(maker, norms):
    """The largest weight of each output channel of a layer, including its normalization."""
    gain = np.float32(1)
    if type(maker) is layers.BatchNormalization:
        gain = _gain(maker)
        maker = norms[1].get(id(maker))
        if maker is None:
            return gain
    largest = np.abs(window_first(maker)).max(0)
    return gain * (largest.reshape(-1) if type(maker) in DEPTHWISE else largest.max(0))


def _taken(taker, norms):
    """The largest weight of each input channel of a layer, including its normalization."""
    kernel, norm = np.abs(window_first(taker)), norms[0].get(id(taker))
    if norm is not None:
        kernel = kernel * _gain(norm).reshape(kernel.shape[1:] if type(taker) in DEPTHWISE else -1)
    return kernel.max((0, 2))


def _gain(norm):
    """The factor by which a normalization scales each channel."""
    gain = 1 / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    return gain if norm.gamma is None else gain * np.abs(np.asarray(norm.gamma))


def _equalize_values(model, spaces, inputs):
    """Equalizes the ranges of the values that enter kernels."""
    reach: dict[int, Any] = {}

    def note(layer, call, x, *args, **kwargs):
        reach[id(layer)] = np.asarray(ops.max(ops.abs(x), axis=tuple(range(len(x.shape) - 1))))
        return call(x, *args, **kwargs)

    with visiting(([taker for space in spaces for taker in space.takers], note)):
        model(few(inputs), training=False)
    for space in spaces:
        largest = np.max([reach[id(taker)] for taker in space.takers], 0)
        alive = largest > _TINY
        middle = np.exp(np.log(largest[alive]).mean()) if alive.any() else 1.0
        _scale(space, np.where(alive, largest / middle, 1.0).astype("float32"))


def _scale(space: Space, factors: np.ndarray) -> None:
    """Divides channels where they are produced, and multiplies them where they are consumed."""
    for maker in space.makers:
        if type(maker) is layers.BatchNormalization:
            weights = [maker.gamma, maker.beta]
        else:
            weights = [maker.kernel, maker.bias]
        for weight in weights:
            if weight is not None:
                of_depthwise = type(maker) in DEPTHWISE and weight is maker.kernel
                weight.assign(weight / (factors.reshape(weight.shape[-2:]) if of_depthwise else factors))
    for taker in space.takers:
        taker.kernel.assign(taker.kernel * factors[:, None])


def _absorb(space, norms):
    """Moves the biases of channels that are almost always above 0 to the next layer."""
    if (
        len(space.makers) > 1
        or len(space.takers) > 1
        or not all(type(each) in _KEEPING for each in space.passing)
    ):
        return
    (maker,), (taker,) = space.makers, space.takers
    behind = norms[0].get(id(taker))
    pads = type(taker) is not layers.Dense and taker.padding != "valid" and max(taker.kernel_size) > 1
    shifted = taker.bias if taker.use_bias else behind and behind.moving_mean
    if type(maker) is not layers.BatchNormalization or maker.beta is None or pads or shifted is None:
        return
    excess = np.maximum(0, np.asarray(maker.beta) - _DEVIATIONS * np.abs(np.asarray(maker.gamma)))
    shift = window_first(taker).sum(0) * excess[:, None]
    shift = shift.reshape(-1) if type(taker) in DEPTHWISE else shift.sum(0)
    maker.beta.assign(maker.beta - excess)
    shifted.assign(shifted + (shift if taker.use_bias else -shift))
