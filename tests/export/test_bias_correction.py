"""Biases that make up for rounding, where there is something to make up for."""

import keras
import numpy as np
import pytest
from keras import layers

from tfkd import export
from tfkd.compression._kernels import kernels_of, round_kernels
from tfkd.compression._reconstruction import Learning
from tfkd.compression._rounding import Rounding, corrected_biases
from tfkd.export._rounding import Rounded, better_rounded

RNG = np.random.default_rng(0)
X = RNG.random((96, 16, 16, 3)).astype("float32")


def shifting(blocks=6, seed=0):
    """Depthwise kernels of a few large weights and many that rounding moves to one side."""
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((16, 16, 3))
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(12, 3, padding="same")(inputs)))
    for _ in range(blocks):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(12, 1, use_bias=False)(x)))
    model = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)), name="shifting")
    for layer in model.layers:
        if isinstance(layer, layers.DepthwiseConv2D):
            kernel = np.full(layer.kernel.shape, 0.4 / 127)
            kernel[1, 1] = rng.choice([-1.0, 1.0], kernel.shape[2:])
            layer.kernel.assign(kernel)
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(rng.normal(0.5, 0.3, layer.beta.shape))
    # Statistics that fit, as training leaves them.
    model.compile("sgd", "mse")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            values = np.asarray(keras.Model(inputs, layer.input)(X))
            layer.moving_mean.assign(values.mean((0, 1, 2)))
            layer.moving_variance.assign(values.var((0, 1, 2)) + 1e-3)
    return model


def rounded_outputs(model):
    """What the model gives with its kernels rounded as they are in a file."""
    before = model.get_weights()
    for layer in model.layers:
        if kernels_of(layer):
            round_kernels(layer, 8)
    outputs = np.asarray(model(X))
    corrected = model.get_weights()
    return outputs, before, corrected


def test_means_come_back():
    model = shifting()
    weights, expected = model.get_weights(), np.asarray(model(X))
    plain, before, _ = rounded_outputs(model)
    model.set_weights(before)
    with corrected_biases(model, X, Rounding(values=False)) as changed:
        assert changed
        corrected, *_ = rounded_outputs(model)
        model.set_weights(before)
    shift, left = (np.abs((each - expected).mean(0)).max() for each in (plain, corrected))
    assert left < 0.1 * shift
    model.set_weights(weights)
    with corrected_biases(model, X):
        pass
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


def test_weights_come_back_after_an_error():
    model = shifting(1)
    weights = model.get_weights()
    with pytest.raises(RuntimeError, match="no disk"), corrected_biases(model, X):
        raise RuntimeError("no disk")
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)
    assert all("call" not in vars(layer) for layer in model.layers)


def test_a_layer_with_a_bias_and_an_activation_is_corrected_before_the_activation():
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(5, activation="relu")(inputs))
    kernel = np.full((8, 5), 0.4 / 127)
    kernel[0] = 1.0
    model.layers[-1].kernel.assign(kernel)
    x = RNG.random((64, 8)).astype("float32")
    with corrected_biases(model, x, Rounding(values=False)):
        # Seven weights are rounded to 0, and their mean share of the output is the bias.
        expected = x[:, 1:].mean(0).sum() * 0.4 / 127
        np.testing.assert_allclose(model.layers[-1].bias, expected, rtol=1e-4)
    np.testing.assert_array_equal(model.layers[-1].bias, 0)


def test_nothing_to_correct():
    inputs = keras.Input((4, 4, 1))
    without = keras.Model(inputs, layers.Dense(2, use_bias=False)(layers.Flatten()(inputs)))
    with corrected_biases(without, RNG.random((8, 4, 4, 1)).astype("float32")) as changed:
        assert not changed


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["int8", "int16x8"])
def test_files_gain_by_it(quantization):
    check = export.export_tflite(shifting(), None, quantization, X, verification_data=X[:64])
    assert check.bias_corrected
    plain, _, _ = rounded_outputs(shifting())
    uncorrected = np.abs(plain - np.asarray(shifting()(X))).max()
    assert check.max_difference < 0.5 * uncorrected


@pytest.mark.slow
def test_it_is_left_out_where_it_does_not_help(monkeypatch):
    model, made = shifting(1), []

    def make():
        made.append(model.get_weights())
        return b"worse" if len(made) > 1 else b"good"

    def run(content, inputs):
        return np.asarray(model(inputs)) + (1.0 if content == b"worse" else 0.5)

    monkeypatch.setattr("tfkd.export._rounding.run_tflite", run)
    assert better_rounded(make, model, X, make()) == Rounded(b"good")
    assert len(made) == 2


@pytest.mark.parametrize(("off", "chosen"), [(0.3, b"learned"), (0.47, b"corrected")])
def test_learned_rounding_is_taken_where_it_is_clearly_nearer(monkeypatch, off, chosen):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(5)(inputs))
    x, weights = RNG.random((96, 8)).astype("float32"), model.get_weights()
    contents, seen = iter([b"corrected", b"learned"]), {}

    def make():
        content = next(contents)
        seen[content] = model.get_weights()
        return content

    errors = {b"plain": 1.0, b"corrected": 0.5, b"learned": off}
    monkeypatch.setattr(
        "tfkd.export._rounding.run_tflite", lambda content, x: np.asarray(model(x)) + errors[content]
    )
    rounded = better_rounded(make, model, x, b"plain", "w4a8", Learning(updates=10))
    assert rounded == Rounded(chosen, b"plain", chosen == b"learned")
    # Kernels are in place while the file of learned ones is made, and only then.
    np.testing.assert_array_equal(seen[b"corrected"][0], weights[0])
    steps = seen[b"learned"][0] / (np.abs(weights[0]).max(0) / 7)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    for now, then in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    ("quantization", "message"),
    [("float16", "works only with quantization int8"), ("int4", "needs `representative_data`")],
)
def test_rounding_is_learned_for_some_files(quantization, message):
    with pytest.raises(ValueError, match=message):
        export.export_tflite(shifting(1), None, quantization, learn_rounding=True)
