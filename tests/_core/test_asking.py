import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

from tfkd._core import asking
from tfkd._core.asking import answers, in_parts


def inputs(n, *shape, seed=0):
    return np.random.default_rng(seed).random((n, *shape), "float32")


class Counting(keras.layers.Layer):
    """Passes on what it gets, and notes of how many examples it is."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.sizes = []

    def call(self, x):
        import tensorflow as tf

        def note(values):
            self.sizes.append(len(values))
            return values

        seen = tf.numpy_function(note, [x], x.dtype)
        seen.set_shape(x.shape)
        return seen


def counted(width):
    """A network whose widest tensor has `width` numbers an example, and the layer that counts."""
    counting = Counting()
    inner = keras.Sequential([layers.Dense(width), layers.Dense(3)], name="inner")
    return keras.Sequential([keras.Input((4,)), counting, inner]), counting


class Code(keras.Model):
    """A network without a graph."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(5)

    def call(self, x, training: bool | None = None):
        return ops.softmax(self.dense(x))


@pytest.mark.parametrize("n", [1, 7, 20, 21])
def test_parts_are_the_whole(n):
    model, counting = counted(8)
    x = inputs(n, 4)
    whole = np.asarray(model(x))
    counting.sizes.clear()
    np.testing.assert_allclose(answers(model, x, most=10), whole, rtol=1e-5, atol=1e-6)
    assert sum(counting.sizes) == n and max(counting.sizes) <= 10
    assert max(counting.sizes) - min(counting.sizes) <= 1


@pytest.mark.parametrize("width", [64, 4096, 2**17])
def test_parts_are_as_large_as_memory_allows(width, monkeypatch):
    monkeypatch.setattr(asking, "PART_BYTES", 2**20)
    model, counting = counted(width)
    answers(model, inputs(512, 4))
    assert sum(counting.sizes) == 512
    largest = max(counting.sizes)
    assert largest <= asking.MOST_AT_ONCE
    assert largest == 1 or largest * 4 * width <= 2**20
    # Nor is it much less.
    assert largest == asking.MOST_AT_ONCE or largest * 4 * width * 8 >= 2**20


@pytest.mark.parametrize(
    "model",
    [
        Code(),
        keras.Sequential([keras.Input((4,)), layers.Dropout(0.5), layers.Dense(2)]),
        keras.Sequential([keras.Input((4,)), layers.Dense(2, dtype="mixed_float16")]),
        keras.Sequential([keras.Input((4,)), layers.Reshape((4, 1)), layers.LSTM(3)]),
    ],
    ids=["code", "dropout", "half", "recurrent"],
)
def test_kinds_of_models(model):
    x = inputs(9, 4)
    expected = np.asarray(model(x, training=False))
    found = answers(model, x, most=4)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_structures_of_inputs_and_outputs():
    given = {"a": keras.Input((4,), name="a"), "b": keras.Input((2, 3), dtype="int32", name="b")}
    summed = layers.Flatten()(ops.cast(given["b"], "float32"))
    model = keras.Model(given, {"left": layers.Dense(2)(given["a"]), "both": [summed, given["b"]]})
    x = {"a": inputs(11, 4), "b": np.arange(66, dtype="int32").reshape(11, 2, 3)}
    found = answers(model, x, most=4)
    keras.tree.assert_same_structure(found, model(x))
    np.testing.assert_allclose(found["left"], model(x)["left"], rtol=1e-6)
    np.testing.assert_array_equal(found["both"][0], x["b"].reshape(11, 6))
    np.testing.assert_array_equal(found["both"][1], x["b"])


def test_new_weights_give_new_answers():
    model, _ = counted(8)
    x = inputs(5, 4)
    before = answers(model, x)
    model.set_weights([2 * weight for weight in model.get_weights()])
    np.testing.assert_allclose(answers(model, x), 4 * before, rtol=1e-5)


def test_one_trace_for_all_numbers_of_inputs():
    traces = []

    class Traced(layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

    model = keras.Sequential([keras.Input((None, 4)), Traced()])
    traces.clear()
    for n in (3, 8, 300):
        answers(model, inputs(n, 2, 4))
    assert traces == [(None, 2, 4)]
    answers(model, inputs(3, 5, 4))
    assert traces == [(None, 2, 4), (None, 5, 4)]


def test_models_that_were_asked_are_not_kept_alive():
    model, _ = counted(8)
    answers(model, inputs(2, 4))
    reference = weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None


def test_parts_of_inputs():
    model, _ = counted(8)
    parts = [np.asarray(part) for part in in_parts(model, inputs(10, 4), most=4)]
    assert [len(part) for part in parts] == [3, 4, 3]
    np.testing.assert_array_equal(np.concatenate(parts), inputs(10, 4))
