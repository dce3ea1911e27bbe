"""Kernels of layers in a row with like ranges, in networks that stay what they are."""

import keras
import numpy as np
import pytest
from keras import layers

from tfkd.compression import equalize_layers

X = np.random.default_rng(0).normal(size=(8, 10, 10, 3)).astype("float32")


def network(activation=layers.ReLU, nested=False, seed=0):
    """A block as of a MobileNetV2, with channels of very different ranges."""
    rng = np.random.default_rng(seed)
    inputs = keras.Input((10, 10, 3))
    x = layers.Conv2D(6, 1, use_bias=False, name="expand")(inputs)
    x = activation()(layers.BatchNormalization(name="norm")(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = layers.Conv2D(5, 1, name="project")(activation()(x))
    body = keras.Model(inputs, x)
    x = layers.GlobalAveragePooling2D()(body(inputs) if nested else x)
    model = keras.Model(inputs, layers.Dense(4, name="dense")(x))
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -1.0
        weight.assign(rng.uniform(low, 1.0, weight.shape) * 10 ** rng.uniform(-1, 1, weight.shape[-1:]))
    return model


@pytest.mark.parametrize("by_values", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_equalized_networks_compute_the_same(nested, by_values):
    model = network(nested=nested)
    weights, expected = model.get_weights(), np.asarray(model(X))
    equal = equalize_layers(model, X if by_values else None)
    np.testing.assert_allclose(equal(X), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_ranges_of_channels_become_alike():
    equal = equalize_layers(network())
    gain = equal.get_layer("norm").gamma / np.sqrt(equal.get_layer("norm").moving_variance + 1e-3)
    made = np.abs(np.asarray(equal.get_layer("expand").kernel) * gain).max((0, 1, 2))
    depthwise = np.abs(np.asarray(equal.get_layer("depthwise").kernel))
    np.testing.assert_allclose(made, depthwise.max((0, 1, 3)), rtol=0.01)
    taken = np.abs(np.asarray(equal.get_layer("project").kernel)).max((0, 1, 3))
    np.testing.assert_allclose(depthwise.max((0, 1)).reshape(-1), taken, rtol=0.01)


def residual():
    """Two blocks with a residual stream between ReLU6s, as of a MobileNetV2."""
    inputs = keras.Input((10, 10, 3))
    x = stem = layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(inputs))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 1, name="expand")(x)))
    x = layers.BatchNormalization()(layers.Conv2D(4, 1, name="project")(x))
    x = layers.Add()([stem, x])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 1, activation="relu6", name="last")(x))
    model = keras.Model(inputs, layers.Dense(2)(x))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(10 ** rng.uniform(-1, 1, layer.gamma.shape))
    return model


def test_values_of_a_residual_stream_become_alike():
    model = residual()
    equal = equalize_layers(model, X)
    np.testing.assert_allclose(equal(X), model(X), rtol=1e-4, atol=1e-4)
    ranges = []
    for each in (model, equal):
        taken = [keras.Model(each.input, each.get_layer(name).input)(X) for name in ("expand", "last")]
        ranges.append(np.max([np.abs(values).max((0, 1, 2)) for values in taken], 0))
    assert ranges[0].max() > 3 * ranges[0].min()
    np.testing.assert_allclose(ranges[1], ranges[1][0], rtol=1e-3)


def high_biases():
    inputs = keras.Input((4,))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(3, name="first")(inputs)))
    model = keras.Model(inputs, layers.Dense(2, name="second")(x))
    model.layers[2].beta.assign([5.0, 2.0, -1.0])
    return model


def test_high_biases_are_absorbed():
    model = high_biases()
    # What is within three deviations of its mean is above what is taken away.
    values = np.random.default_rng(1).normal(size=(256, 4)).astype("float32")
    norm = model.layers[2]
    made = np.asarray(model.get_layer("first")(values))
    norm.moving_mean.assign(made.mean(0))
    norm.moving_variance.assign(made.var(0))
    near = values[(np.abs((made - made.mean(0)) / made.std(0)) < 2.9).all(1)]
    equal = equalize_layers(model, absorb_biases=True)
    np.testing.assert_allclose(equal(near), model(near), atol=1e-4)
    behind = [keras.Model(each.input, each.layers[3].output)(near) for each in (model, equal)]
    unscaled = np.asarray(behind[1]) * np.asarray(norm.gamma / equal.layers[2].gamma)
    np.testing.assert_allclose(
        np.asarray(behind[0]) - unscaled, np.broadcast_to([2, 0, 0], (len(near), 3)), atol=1e-4
    )


def of_relu6(bias):
    inputs = keras.Input((4,))
    x = layers.Dense(3, activation="relu6", bias_initializer=keras.initializers.Constant(bias))(inputs)
    return keras.Model(inputs, layers.Dense(2)(x))


def test_relu6_is_replaced_only_if_asked_for():
    values = np.random.default_rng(1).uniform(size=(32, 4)).astype("float32")
    with pytest.raises(ValueError, match="replace_relu6=True"):
        equalize_layers(of_relu6(0.0))
    for bias, same in ((0.0, True), (9.0, False)):
        model = of_relu6(bias)
        equal = equalize_layers(model, replace_relu6=True)
        assert equal.layers[1].activation is keras.activations.relu
        assert np.allclose(equal(values), model(values), atol=1e-4) == same


def branching():
    inputs = keras.Input((4,))
    x = layers.Dense(3, activation="relu")(inputs)
    return keras.Model(inputs, layers.Add()([layers.Dense(3)(x), x]))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("model.keras", TypeError, "must be a Keras model"),
        (branching(), ValueError, "no channels to scale"),
        (keras.Sequential([layers.Dense(2)]), ValueError, "functional or a built Sequential"),
    ],
)
def test_what_cannot_be_equalized(model, error, message):
    with pytest.raises(error, match=message):
        equalize_layers(model)
