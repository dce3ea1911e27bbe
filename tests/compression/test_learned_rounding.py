"""Rounding that is learned: kernels on their grids, and nearer to the network in float."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfkd._core.runtimes import TFLiteFile
from tfkd.compression import learn_rounding
from tfkd.compression._kernel_rows import kernel_of, matrices_of, outputs_at, rows_of
from tfkd.compression._kernels import kernels_of
from tfkd.compression._rounding import Rounding, round_network
from tfkd.export._conversion import convert

RNG = np.random.default_rng(0)


def smooth_images(n, seed=0):
    """Images whose neighbours are alike, and channels too, as those of pictures are."""
    coarse = np.random.default_rng(seed).random((n, 3, 3, 1))
    fine = coarse.repeat(4, 1).repeat(4, 2) * [1.0, 0.9, 0.7]
    return (fine + 0.05 * np.random.default_rng(seed + 1).random((n, 12, 12, 3))).astype("float32")


X = smooth_images(64)


def network(bias=True):
    inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=bias, activation="relu", name="conv")(inputs)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="norm")(x))
    x = layers.Conv2D(8, 1, name="last")(x)
    return keras.Model(inputs, layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (layers.Conv2D(6, 3, strides=2, padding="same"), (9, 8, 4)),
        (layers.Conv2D(6, (3, 2), dilation_rate=2), (9, 8, 4)),
        (layers.Conv2D(6, 3, padding="same", groups=2), (9, 8, 4)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"), (8, 9, 3)),
        (layers.Conv1D(5, 3, padding="causal", dilation_rate=2), (9, 4)),
        (layers.DepthwiseConv1D(3), (9, 4)),
        (layers.Dense(5), (3, 4)),
    ],
)
def test_rows_times_matrices_are_what_layers_give(layer, shape):
    x = tf.constant(RNG.normal(size=(3, *shape)).astype("float32"))
    outputs = layer(x)
    places = RNG.choice(int(np.prod(outputs.shape[:-1])), 7, replace=False)
    kernel = layer.kernel.numpy()
    matrices = matrices_of(layer, kernel)
    np.testing.assert_array_equal(kernel_of(layer, matrices), kernel)
    rows = rows_of(layer, x, tuple(outputs.shape), places)
    np.testing.assert_allclose(rows @ matrices, outputs_at(layer, outputs, places), atol=1e-5)


def on_grid(layer, bits):
    kernel = np.asarray(layer.kernel)
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    axes, largest = ((0, 1), 127) if depthwise else (tuple(range(kernel.ndim - 1)), 2 ** (bits - 1) - 1)
    steps = kernel / (np.abs(kernel).max(axes, keepdims=True) / largest)
    return np.abs(steps - np.round(steps)).max() < 1e-3


@pytest.mark.parametrize("bits", [8, 4])
def test_kernels_lie_on_the_grids_of_files(bits):
    model = network()
    weights = model.get_weights()
    rounded = learn_rounding(model, X, bits, updates=10)
    for layer, before in zip(rounded.layers, model.layers, strict=True):
        if not kernels_of(layer):
            continue
        assert on_grid(layer, bits), layer.name
        # Never further than to the next value, and the largest of a channel stays.
        kernel, was = np.asarray(layer.kernel), np.asarray(before.kernel)
        axes = (0, 1) if layer.name == "depthwise" else tuple(range(kernel.ndim - 1))
        ends = 127 if layer.name == "depthwise" else 2 ** (bits - 1) - 1
        largest = np.abs(was).max(axes, keepdims=True)
        assert (np.abs(kernel - was) <= 1.001 * largest / ends).all()
        np.testing.assert_allclose(np.abs(kernel).max(axes, keepdims=True), largest, rtol=1e-5)
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_learned_is_nearer_than_nearest():
    model, other = network(), smooth_images(32, 5)
    nearest = keras.models.clone_model(model)
    nearest.set_weights(model.get_weights())
    round_network(nearest, X, Rounding(4, values=False))
    learned = learn_rounding(model, X, 4, updates=200, round_values=False)
    # Behind the average over positions, corrected biases leave next to nothing.
    expected, *seen = (
        np.asarray(keras.Model(each.input, each.get_layer("last").output)(other))
        for each in (model, nearest, learned)
    )
    errors = [np.sqrt(np.mean((values - expected) ** 2)) for values in seen]
    assert errors[1] < 0.9 * errors[0]


def test_files_hold_the_kernels_that_were_learned():
    rounded = learn_rounding(network(), X, updates=20)
    interpreter = TFLiteFile(convert(rounded, "int8", X[:8])).interpreter
    held = {}
    for tensor in interpreter.get_tensor_details():
        quantized = tensor["quantization_parameters"]
        # Values between layers have one scale.
        if tensor["dtype"] == np.int8 and len(quantized["scales"]) > 1:
            shape = [1] * len(tensor["shape"])
            shape[quantized["quantized_dimension"]] = -1
            values = interpreter.get_tensor(tensor["index"]).astype("float32")
            held[tuple(tensor["shape"])] = values * quantized["scales"].reshape(shape)
    norm = rounded.get_layer("norm")
    gain = norm.gamma / np.sqrt(norm.moving_variance + norm.epsilon)
    for name in ("conv", "depthwise", "last", "dense"):
        kernel = np.moveaxis(np.asarray(rounded.get_layer(name).kernel), -1, 0)
        kernel = kernel * gain if name == "depthwise" else kernel
        np.testing.assert_allclose(held[kernel.shape], kernel, atol=1e-5, err_msg=name)
