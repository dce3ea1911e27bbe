"""Stochastic depth and dropout in students: rates, places, inference, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests.students.test_depth import blocks
from tfkd import students
from tfkd.students import StochasticDepth, with_noise, without_noise

pytestmark = pytest.mark.slow


def pixels(n=3, shape=(6, 6, 1)):
    return np.random.default_rng(0).uniform(size=(n, *shape)).astype("float32")


def rates(model):
    return {layer.name: layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)}


@pytest.mark.parametrize("compiled", [None, False, True], ids=["eager", "graph", "xla"])
def test_examples_are_dropped_whole_and_the_others_scaled(compiled):
    layer = StochasticDepth(0.25, seed=1)
    x = np.ones((4000, 2, 3), "float32")
    layer.build(x.shape)
    call = layer if compiled is None else tf.function(layer, jit_compile=compiled)
    dropped = np.asarray(call(x, training=True))
    first = dropped[:, :1, :1]
    np.testing.assert_array_equal(dropped, np.broadcast_to(first, x.shape))
    np.testing.assert_allclose(np.unique(first), [0, 1 / 0.75], rtol=1e-6)
    # The standard error of the share is 0.007.
    assert abs(np.mean(first == 0) - 0.25) < 0.03
    np.testing.assert_array_equal(call(x, training=False), x)


def test_gradients_pass_where_the_branch_survived():
    layer, x = StochasticDepth(0.5, seed=3), tf.ones((64, 5))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    np.testing.assert_allclose(tape.gradient(y, x), y)


def test_the_same_seed_drops_the_same_and_state_is_tracked():
    one, two = StochasticDepth(0.5, seed=3), StochasticDepth(0.5, seed=3)
    x = np.ones((64, 2), "float32")
    masks = [np.asarray(one(x, training=True)) for _ in range(2)]
    assert (masks[0] != masks[1]).any()
    np.testing.assert_array_equal(two(x, training=True), masks[0])
    assert [v.path.rpartition("/")[2] for v in one.variables] == ["seed_generator_state"]


def test_a_rate_out_of_range_is_refused():
    for rate in (1.0, -0.1, "half"):
        with pytest.raises(ValueError, match="`rate` must be at least 0 and below 1"):
            StochasticDepth(rate)


def test_half_precision_stays():
    layer = StochasticDepth(0.5, dtype="mixed_float16")
    assert layer(np.ones((4, 2), "float16"), training=True).dtype == "float16"


@pytest.mark.parametrize("operator", [False, True])
def test_rates_grow_by_depth_and_weights_stay(operator):
    model = blocks(3, operator)
    noisy = with_noise(model, dropout=0.5, depth=0.2)
    found = rates(noisy)
    assert found.pop("out_dropout") == 0.5
    # Five blocks; the fourth, which changes the width, drops nothing.
    np.testing.assert_allclose(list(found.values()), [0.04, 0.08, 0.12, 0.2])
    if not operator:
        assert list(found) == [f"{name}_stochastic_depth" for name in ("add0", "add1", "add2", "last")]
    x = pixels()
    np.testing.assert_array_equal(noisy(x, training=False), model(x))
    assert [v.path for v in noisy.weights] == [v.path for v in model.weights]
    assert not any(isinstance(layer, layers.Dropout) for layer in model.layers)


def test_a_dropped_branch_leaves_the_shortcut():
    """At a rate near 1, hardly anything but the stem is left of a stack of blocks."""
    inputs = keras.Input((4,))
    outputs = layers.Add()([layers.Dense(4)(inputs), inputs])
    noisy = with_noise(keras.Model(inputs, layers.Dense(1, name="out")(outputs)), 0.0, 0.999, seed=2)
    x = pixels(16, (4,))
    seen = keras.Model(noisy.input, noisy.get_layer("out").input)
    np.testing.assert_array_equal(seen(x, training=True), x)
    assert (np.asarray(seen(x, training=False)) != x).any()


def test_networks_without_blocks_and_sequential_ones_have_the_dropout():
    assert rates(with_noise(students.lenet5_half())) == {"logits_dropout": 0.5}
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")])
    noisy = with_noise(model, 0.3)
    assert [layer.name for layer in noisy.layers][1:] == ["a", "b_dropout", "b"]
    np.testing.assert_array_equal(noisy(pixels(2, (3,))), model(pixels(2, (3,))))


def test_seeded_noise_is_the_same_and_each_layer_has_its_own():
    x, model = pixels(32), blocks(3)
    ones, twos = (with_noise(model, seed=5)(x, training=True) for _ in range(2))
    np.testing.assert_array_equal(ones, twos)
    noisy = with_noise(model, seed=5)
    seeds = [layer.seed for layer in noisy.layers if isinstance(layer, layers.Dropout)]
    assert len(set(seeds)) == len(seeds) == 5


def test_noise_is_taken_out_again():
    model = students.resnet(8, (8, 8, 3))
    noisy = with_noise(model)
    plain = without_noise(noisy)
    assert [layer.name for layer in plain.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(plain(pixels(2, (8, 8, 3))), model(pixels(2, (8, 8, 3))))
    assert without_noise(model) is model
    assert set(rates(students.without_dropout(noisy)).values()) == {0.0}


def test_saving_and_loading(tmp_path):
    noisy = with_noise(blocks(2), seed=1)
    noisy.save(tmp_path / "noisy.keras")
    loaded = keras.models.load_model(tmp_path / "noisy.keras")
    assert rates(loaded) == rates(noisy)
    np.testing.assert_array_equal(loaded(pixels(), training=True), noisy(pixels(), training=True))


def test_files_for_phones_have_no_noise(tmp_path):
    """The same outputs, and not a byte more than the network that never had noise."""
    model = blocks(2)
    noisy = with_noise(model)
    sizes = []
    for name, each in (("plain", model), ("noisy", noisy)):
        path = tmp_path / f"{name}.tflite"
        tfkd.export.export_tflite(each, path)
        sizes.append(path.stat().st_size)
        outputs = tfkd.export.run_tflite(path, pixels())
        np.testing.assert_allclose(outputs, model(pixels()), atol=1e-5)
    assert abs(sizes[0] - sizes[1]) < 64


def test_bad_arguments():
    model = blocks(1)
    flat = keras.Sequential([keras.Input((3,)), layers.Flatten()])

    class Own(keras.Model):
        pass

    for build, message in (
        (lambda: with_noise(model, dropout=1.0), "`dropout` must be at least 0 and below 1"),
        (lambda: with_noise(model, depth=-0.1), "`depth` must be at least 0 and below 1"),
        (lambda: with_noise(model, 0.0, 0.0), "no place for noise with dropout=0.0 and depth=0.0"),
        (lambda: with_noise(flat), "no place for noise"),
        (lambda: with_noise(Own(name="own")), "must be functional or a built Sequential model"),
        (lambda: without_noise(Own(name="own")), "must be functional or a built Sequential model"),
    ):
        with pytest.raises(ValueError, match=message):
            build()
    # The remedy.
    assert rates(with_noise(model, 0.1, 0.0)) == {"out_dropout": 0.1}
