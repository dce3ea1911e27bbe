import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.conftest import SHAPE, small_network
from tfkd import taps


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.block = keras.Sequential(
            [layers.Conv2D(3, 3, name="conv"), layers.ReLU(name="relu")], name="block"
        )
        self.head = layers.Dense(2, name="head")

    def call(self, x):
        return self.head(tf.reduce_mean(self.block(x), (1, 2)))


def nested():
    inner = small_network(name="inner")
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layers.Dense(3, name="out")(inner(inputs)))


def sequential():
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(name="flat"), layers.Dense(3, name="out")])


CASES = {
    "functional": (small_network, "relu1"),
    "sequential": (sequential, "flat"),
    "nested": (nested, "inner/relu1"),
    "subclassed": (Subclassed, "block/relu"),
}


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(size=(2, *SHAPE)).astype("float32")


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_records_what_the_layer_saw(case, jit_compile, images):
    build, tap = CASES[case]
    model = build()
    model(images)

    def run(x):
        with taps.record(model, [tap, f"{tap}:input"]) as seen:
            outputs = model(x)
        return outputs, seen[tap], seen[f"{tap}:input"]

    if jit_compile is not None:
        run = tf.function(run, jit_compile=jit_compile)
    outputs, value, value_in = run(images)
    np.testing.assert_allclose(outputs, model(images), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(value, taps.resolve(model, tap)(value_in), rtol=1e-5)


def test_gradients_flow_through_taps(images):
    model = small_network()
    with tf.GradientTape() as tape, taps.record(model, ["relu1"]) as seen:
        model(images)
        total = tf.reduce_sum(seen["relu1"] ** 2)
    gradient = tape.gradient(total, model.get_layer("conv1").kernel.value)
    assert np.abs(gradient).max() > 0


def test_every_call_of_a_shared_layer(images):
    inputs = keras.Input((3,))
    dense = layers.Dense(3, name="shared")
    model = keras.Model(inputs, dense(dense(inputs)))
    x = np.ones((1, 3), "float32")
    with taps.record(model, ["shared"]) as seen:
        outputs = model(x)
    assert len(seen.calls["shared"]) == 2
    np.testing.assert_array_equal(seen["shared"], outputs)


def test_layers_are_left_as_they_were_even_after_an_error(images):
    model = small_network()
    layer = model.get_layer("relu1")
    with pytest.raises(RuntimeError), taps.record(model, ["relu1"]):
        assert "call" in vars(layer)
        raise RuntimeError
    assert "call" not in vars(layer)


def test_records_nest(images):
    model = small_network()
    with taps.record(model, ["relu1"]) as outer:
        with taps.record(model, ["relu1"]) as inner:
            model(images)
        model(images)
    assert len(inner.calls["relu1"]) == 1 and len(outer.calls["relu1"]) == 2


def test_other_threads_are_not_recorded(images):
    model = small_network()
    model(images)
    with taps.record(model, ["relu1"]) as seen:
        other = threading.Thread(target=model, args=(images,))
        other.start()
        other.join()
        assert not seen.calls["relu1"]
        model(images)
    assert len(seen.calls["relu1"]) == 1


def test_wrong_name_lists_close_matches():
    with (
        pytest.raises(ValueError, match=r"No layer 'relu_1'.*relu1"),
        taps.record(small_network(), ["relu_1"]),
    ):
        pass


def test_reading_what_was_not_recorded(images):
    model = small_network()
    with taps.record(model, ["relu1"]) as seen:
        pass
    with pytest.raises(KeyError, match="was not called"):
        seen["relu1"]
    with pytest.raises(KeyError, match="was not tapped"):
        seen["conv1"]


def test_penultimate():
    assert taps.penultimate(small_network()) == "logits:input"
    assert taps.penultimate(nested()) == "out:input"
