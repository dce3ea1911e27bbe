"""Cross-layer equalization: kernels whose channels have like ranges, in a network that stays the same."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from tfkd._core.copies import cloned_model, remade
from tfkd._core.flow import Flow
from tfkd._core.graphs import copy_weights, has_graph, times_used, trainable_config
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_3

_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_KINDS = (layers.Dense, layers.Conv1D, layers.Conv2D, *_DEPTHWISE)
_POOLING = (layers.MaxPooling1D, layers.MaxPooling2D, layers.AveragePooling1D, layers.AveragePooling2D)
# What scales its outputs as its inputs are scaled, channel by channel.
_PASSING = (
    *_POOLING,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.Dropout,
    layers.SpatialDropout2D,
)
_PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D)
# Rounds over all pairs, and how far from 1 factors are when they are let alone.
_ROUNDS, _ENOUGH = 40, 1e-3
# Standard deviations below its mean where hardly any value of a channel is.
_DEVIATIONS = 3.0
_TINY = 1e-12


class _Pair(NamedTuple):
    """Two layers in a row, the normalizations right behind each, and what lies between them."""

    first: Any
    first_norm: Any
    second: Any
    second_norm: Any
    between: list


def equalize_layers(
    model: keras.Model, absorb_biases: bool = True, replace_relu6: bool = False
) -> keras.Model:
    """A model like another one, with kernels whose channels have like ranges.

    What a channel of one layer is divided by, the next layer multiplies it with. Kernels that have one
    scale, and values between layers, which have one in every file, are then rounded more finely. Pairs of
    layers with a ReLU, a leaky one, or nothing between them are equalized, with batch normalizations,
    pooling and padding in between or behind, as long as nobody else takes what the first one gives.

    Args:
        model: a functional or built Sequential Keras 3 model, with models nested in it or not; it stays as
            it is.
        absorb_biases: whether biases that lift a channel of the first layer above 0 are moved to the second
            one, which makes the ranges of values smaller: by as much as the channel's mean is more than
            three standard deviations above 0, as the batch normalization behind the layer tells. The
            outputs change a little, by what lies below that, 0.1 % of values if they are normal. Layers
            that pad their inputs are let alone.
        replace_relu6: whether each ReLU6 becomes a ReLU, without which no pair with one between is
            equalized. The outputs change wherever values are above 6: compare both models.

    Returns:
        A model of the same layers but for what replaces ReLU6. Without biases absorbed and ReLU6 replaced
        its outputs are the same but for the last digits.

    Raises:
        TypeError: if `model` is not a model of Keras 3.
        ValueError: if its graph is not known, or it has no such pair.

    Example:
        >>> equal = tfkd.compression.equalize_layers(model)
        >>> check = tfkd.export.export_tflite(equal, "model.tflite", "int8", representative_data=images)

    Reference:
        Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and
        Bias Correction", ICCV 2019, sections 4.1 and 4.1.3. Deviations: batch normalizations stay, and
        kernels count as if they were folded; ranges are those of absolute values; ReLU6 is replaced only
        if that is asked for.
    """
    check_keras_3("model", model)
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a Keras model. Received: {model!r} of type {type(model)}.")
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {model.name!r} "
            f"({type(model).__name__}), whose layers are called by code that tells nothing."
        )
    equal = _copy(model, replace_relu6)
    pairs = [pair for part in _models(equal) for pair in _pairs(equal, part)]
    if not pairs:
        with_6 = any(_is_relu6(layer) for layer in flatten_layers(model)) and not replace_relu6
        remedy = " Try replace_relu6=True." if with_6 else ""
        raise ValueError(f"`model`: {model.name!r} has no two layers in a row to equalize.{remedy}")
    for _ in range(_ROUNDS):
        if max(_equalize(pair) for pair in pairs) < _ENOUGH:
            break
    if absorb_biases:
        for pair in pairs:
            _absorb(pair)
    return equal


def _copy(model, replace_relu6):
    def copied(layer):
        config = trainable_config(layer)
        if replace_relu6 and _is_relu6(layer):
            config |= {"max_value": None} if type(layer) is layers.ReLU else {"activation": "relu"}
        return remade(layer, config)

    copy = cloned_model(model, clone_function=copied, recursive=True)
    copy_weights(model, copy)
    return copy


def _is_relu6(layer):
    of_6 = type(layer) is layers.ReLU and layer.max_value is not None
    return of_6 or getattr(layer, "activation", None) is keras.activations.relu6


def _models(model):
    """A model and those nested in it whose graphs are known."""
    return [each for each in flatten_layers(model) if isinstance(each, keras.Model) and has_graph(each)]


def _pairs(root, model) -> Iterator[_Pair]:
    flow = Flow(model)
    returned = {id(tensor) for tensor in model.outputs}

    def single_taker(call):
        """The only call that takes what a call gives; None if there are others, or it is an output."""
        (output, *others), takers = call.outputs, flow.following(call)
        alone = not others and len(takers) == 1 and id(output) not in returned
        return takers[0] if alone and len(takers[0].input_tensors) == 1 else None

    def norm_behind(call):
        taker = single_taker(call)
        is_norm = taker is not None and type(taker.operation) is layers.BatchNormalization
        return taker if is_norm and _is_linear(call.operation) and _once(root, taker.operation) else None

    for call in flow.calls:
        if not _is_scaled(call.operation) or not _once(root, call.operation):
            continue
        norm = norm_behind(call)
        if norm is not None and (norm.operation.gamma is None or not _is_last_axis(norm.operation)):
            continue
        between = [] if _is_linear(call.operation) else [call.operation]
        taker = single_taker(norm or call)
        while taker is not None and _passes(taker.operation):
            between.append(taker.operation)
            taker = single_taker(taker)
        operation = None if taker is None else taker.operation
        known = _is_scaled(operation) and getattr(operation, "groups", 1) == 1 and _once(root, operation)
        if known and all(_is_homogeneous(each) for each in between):
            behind = norm_behind(taker)
            yield _Pair(
                call.operation, norm and norm.operation, operation, behind and behind.operation, between
            )


def _once(root, operation):
    return times_used(root, operation) == 1


def _is_scaled(operation):
    return (
        type(operation) in _KINDS and getattr(operation, "data_format", "channels_last") == "channels_last"
    )


def _is_linear(layer):
    return layer.activation is keras.activations.linear


def _is_last_axis(norm):
    return norm.axis in (-1, norm.input_spec.ndim - 1)


def _passes(operation):
    return type(operation) in (layers.ReLU, layers.LeakyReLU, layers.Activation, *_PASSING)


def _is_homogeneous(layer):
    """Whether a layer's activation, if it has one, of a positive multiple is the multiple of it."""
    if type(layer) in _PASSING or type(layer) is layers.LeakyReLU:
        return True
    if type(layer) is layers.ReLU:
        return layer.max_value is None and not layer.threshold
    return layer.activation in (keras.activations.relu, keras.activations.linear)


def _gain(norm):
    """What a normalization multiplies channels with; 1 without one."""
    if norm is None:
        return np.float32(1)
    variance = np.asarray(norm.moving_variance) + norm.epsilon
    return (1 if norm.gamma is None else np.asarray(norm.gamma)) / np.sqrt(variance)


def _window_first(layer):
    """A layer's kernel as `(positions in its window, channels taken, channels made of each)`."""
    kernel = np.asarray(layer.kernel, "float32")
    return kernel.reshape(-1, *kernel.shape[-2:])


def _made(layer, norm):
    """The largest weight of each channel that a layer makes, of its kernel with the normalization in it."""
    largest = np.abs(_window_first(layer)).max(0)
    largest = largest.reshape(-1) if type(layer) in _DEPTHWISE else largest.max(0)
    return largest * np.abs(_gain(norm))


def _taken(layer, norm):
    """The largest weight of each channel that a layer takes, likewise."""
    kernel, gain = np.abs(_window_first(layer)), np.abs(_gain(norm))
    if type(layer) in _DEPTHWISE and gain.ndim:
        gain = gain.reshape(kernel.shape[1:])
    return (kernel * gain).max((0, 2))


def _equalize(pair):
    """Divides channels of the first layer, multiplies those of the second; returns how far this goes."""
    made, taken = _made(pair.first, pair.first_norm), _taken(pair.second, pair.second_norm)
    alive = np.minimum(made, taken) > _TINY
    factors = np.where(alive, np.sqrt(made / np.maximum(taken, _TINY)), 1).astype("float32")
    if pair.first_norm is None:
        kernel = pair.first.kernel
        kernel.assign(kernel / factors.reshape(kernel.shape[-2:] if type(pair.first) in _DEPTHWISE else -1))
        shifting = pair.first.bias if pair.first.use_bias else None
    else:
        pair.first_norm.gamma.assign(pair.first_norm.gamma / factors)
        shifting = pair.first_norm.beta
    if shifting is not None:
        shifting.assign(shifting / factors)
    pair.second.kernel.assign(pair.second.kernel * factors[:, None])
    return float(np.abs(np.log(factors[alive])).max(initial=0))


def _absorb(pair):
    """Moves the biases of channels that are above 0 nearly always to the second layer."""
    norm, second, behind = pair.first_norm, pair.second, pair.second_norm
    pads = any(type(each) in _PADDING for each in pair.between) or (
        type(second) is not layers.Dense and second.padding != "valid" and np.prod(second.kernel_size) > 1
    )
    if norm is None or norm.beta is None or pads or not (second.use_bias or behind is not None):
        return
    excess = np.maximum(0, np.asarray(norm.beta) - _DEVIATIONS * np.abs(np.asarray(norm.gamma)))
    shift = _window_first(second).sum(0) * excess[:, None]
    shift = shift.reshape(-1) if type(second) in _DEPTHWISE else shift.sum(0)
    norm.beta.assign(norm.beta - excess)
    if second.use_bias:
        second.bias.assign(second.bias + shift)
    else:
        behind.moving_mean.assign(behind.moving_mean - shift)
