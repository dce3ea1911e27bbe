"""Exits attached, dropped, taken early, measured."""

import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests.conftest import SHAPE, blobs, small_network
from tests.schemes.cases import LABELS_LOSS
from tfkd._core.exit_graphs import segments
from tfkd._core.flops import count_flops
from tfkd.schemes import (
    SelfDistiller,
    attach_exits,
    choose_thresholds,
    drop_exits,
    early_exit,
    exit_curve,
)

pytestmark = pytest.mark.slow

EXITS = ["relu1", "conv2"]


@pytest.fixture(scope="module")
def network():
    """A network with exits that have learned something."""
    keras.utils.set_random_seed(1)
    model = attach_exits(small_network(4), EXITS)
    model.compile(keras.optimizers.Adam(5e-3), [LABELS_LOSS] * 3)
    x, y = blobs(256)
    model.fit(x, [y] * 3, epochs=6, batch_size=32, verbose=0)
    return model


def test_exits_share_the_network_and_can_be_dropped():
    plain, (x, _) = small_network(4), blobs(5)
    expected = plain(x)
    made = attach_exits(plain, list(reversed(EXITS)))
    assert made.output_names == ["exit_1", "exit_2", "logits"]
    assert [tuple(o.shape) for o in made(x)] == [(5, 4)] * 3
    # From shallow to deep, whatever the order they were given in.
    assert made.get_layer("exit_1").input_shape[1:] == plain.get_layer("relu1").output.shape[1:]
    for model in (made, drop_exits(made)):
        outputs = model(x)
        last = outputs[-1] if isinstance(outputs, list) else outputs
        np.testing.assert_array_equal(last, expected)
    assert [v.path for v in drop_exits(made).weights] == [v.path for v in plain.weights]
    assert all(a is b for a, b in zip(drop_exits(made).weights, plain.weights, strict=True))
    with tfkd.taps.record(made, ["exit_1", "exit_1/features"]) as seen:
        outputs = made(x)
    np.testing.assert_array_equal(seen["exit_1"], outputs[0])
    # Four times the four channels of the exit, since the last layer sees 288 features.
    assert seen["exit_1/features"].shape == (5, 16)


def test_a_sequential_model_and_a_file(tmp_path):
    plain = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, name="inner"), layers.Dense(3, name="out")]
    )
    made = attach_exits(plain, ["inner"])
    made.save(tmp_path / "exits.keras")
    x = np.ones((2, 6), "float32")
    loaded = keras.models.load_model(tmp_path / "exits.keras")
    for mine, theirs in zip(made(x), loaded(x), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_padding_of_sequences_does_not_count():
    inputs = keras.Input((None, 2))
    x = layers.Dense(4, name="hidden")(layers.Masking()(inputs))
    x = layers.Dense(3, name="logits")(layers.GlobalAveragePooling1D()(x))
    made = attach_exits(keras.Model(inputs, x), ["hidden"])
    series = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    padded = np.pad(series, ((0, 0), (0, 4), (0, 0)))
    for short, long in zip(made(series), made(padded), strict=True):
        np.testing.assert_allclose(long, short, rtol=1e-5, atol=1e-6)
    early = early_exit(made, [0.4])
    for short, long in zip(early.predict(series), early.predict(padded), strict=True):
        np.testing.assert_allclose(long, short, rtol=1e-5, atol=1e-6)
    labels = np.array([0, 1, 2])
    # Operations are those of inputs of this length.
    costs = [early.evaluate(x, labels)["flops"] for x in (series, padded)]
    assert 0 < costs[0] < costs[1]


def test_a_network_of_padded_sequences_teaches_itself(tmp_path):
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = layers.LSTM(4, name="last")(layers.LSTM(4, return_sequences=True, name="first")(x))
    distiller = SelfDistiller(keras.Model(inputs, layers.Dense(3)(x)), ["first"], "byot")
    distiller.compile("sgd", LABELS_LOSS)
    words = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [3, 0, 0, 0, 0]])
    history = distiller.fit(words, np.array([0, 1, 2]), verbose=0).history
    entropies = distiller.evaluate(words, np.array([0, 1, 2]), verbose=0, return_dict=True)
    assert np.isfinite([history["loss"][0], entropies["loss"]]).all()
    distiller.network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    for mine, theirs in zip(distiller.network(words), loaded(words), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_heads_of_ones_own_and_a_last_operation_that_is_not_a_layer():
    inputs = keras.Input((6,))
    x = layers.Dense(5, name="inner")(inputs)
    plain = keras.Model(inputs, layers.Dense(3)(x) * 2.0)
    made = attach_exits(plain, ["inner"], heads=[layers.Dense(3, name="head")])
    assert made.output_names == ["head", "exit_last"]
    with pytest.raises(ValueError, match=r"must return logits \(None, 3\).*'wrong' at 'inner'.*3 units"):
        attach_exits(plain, ["inner"], heads=[layers.Dense(2, name="wrong")])
    with pytest.raises(TypeError, match=r"`heads` must be Keras layers.*'inner'"):
        attach_exits(plain, ["inner"], heads=["dense"])
    with pytest.raises(ValueError, match=r"one layer for each of the 1 exits"):
        attach_exits(plain, ["inner"], heads=[])


def test_where_exits_cannot_be():
    plain = small_network(4)
    with pytest.raises(ValueError, match=r"No layer 'relu' in model 'net'.*relu1"):
        attach_exits(plain, ["relu"])
    with pytest.raises(ValueError, match=r"'logits' is the output layer.*Leave it out"):
        attach_exits(plain, ["logits"])
    with pytest.raises(ValueError, match=r"different layers"):
        attach_exits(plain, ["relu1", "relu1"])
    for exits in ("relu1", []):
        with pytest.raises(TypeError, match=r"`exits` must be paths of layers"):
            attach_exits(plain, exits)
    with pytest.raises(ValueError, match=r"drop_exits\(model\) removes them"):
        attach_exits(attach_exits(plain, ["relu1"]), ["conv2"])
    with pytest.raises(ValueError, match=r"must have several outputs"):
        drop_exits(plain)
    with pytest.raises(TypeError, match=r"must be a keras.Model"):
        attach_exits("model", ["relu1"])


def test_an_exit_inside_a_nested_model_and_its_remedy():
    inner = small_network(4, name="inner")
    inputs = keras.Input(SHAPE)
    nested = keras.Model(inputs, layers.Dense(3, name="out")(inner(inputs)))
    with pytest.raises(ValueError, match=r"'inner/relu1' is inside a nested model, 'inner'.*flat"):
        attach_exits(nested, ["inner/relu1"])
    assert len(attach_exits(nested, ["inner"]).outputs) == 2
    flat = keras.Model(inner.input, nested.get_layer("out")(inner.output))
    made, (x, _) = attach_exits(flat, ["relu1"]), blobs(3)
    np.testing.assert_allclose(made(x)[-1], nested(x), rtol=1e-5)


def test_models_that_cannot_have_exits(trained):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match=r"functional or built Sequential.*Own.*keras\.Input"):
        attach_exits(Own(), ["dense"])
    with pytest.raises(ValueError, match=r"return logits.*softmax.*load_teacher"):
        attach_exits(trained, ["relu1"])
    assert len(attach_exits(tfkd.load_teacher(trained), ["relu1"]).outputs) == 2
    maps = keras.Sequential([keras.Input(SHAPE), layers.Conv2D(2, 3, name="a"), layers.Conv2D(2, 3)])
    with pytest.raises(ValueError, match=r"one output \(batch, classes\)"):
        attach_exits(maps, ["a"])


def test_the_earliest_sure_exit_answers(network):
    x, y = blobs(100, seed=3)
    outputs = np.stack(network.predict(x, verbose=0), axis=1)
    confidence = tf.nn.softmax(outputs).numpy().max(-1)
    thresholds = [float(np.quantile(confidence[:, 0], 0.6)), float(np.quantile(confidence[:, 1], 0.5))]
    taken = np.where(
        confidence[:, 0] >= thresholds[0], 0, np.where(confidence[:, 1] >= thresholds[1], 1, 2)
    )
    assert set(taken) == {0, 1, 2}
    early = early_exit(network, thresholds)
    answers, exits = early.predict(x, batch_size=32)
    np.testing.assert_array_equal(exits, taken)
    np.testing.assert_allclose(answers, outputs[np.arange(100), taken], rtol=1e-4, atol=1e-4)
    measured = early.evaluate(x, y)
    assert measured["accuracy"] == (answers.argmax(-1) == y).mean()
    shares = np.bincount(taken) / 100
    assert measured["shares"] == pytest.approx(shares) and measured["flops"] == pytest.approx(
        shares @ early.flops
    )
    # One example at a time, and nothing behind the first exit.
    assert early(x[:1]).exits == taken[:1]
    assert early_exit(network, [0.0, 0.0]).predict(x).exits.max() == 0
    np.testing.assert_array_equal(early_exit(network, [2.0, 2.0]).predict(x).exits, 2)


def test_operations_up_to_an_exit(network):
    early = early_exit(network, [0.5, 0.5])
    assert early.flops[0] < early.flops[1] < early.flops[2]
    heads = sum(count_flops(network.get_layer(name)) for name in ("exit_1", "exit_2"))
    assert early.flops[2] == count_flops(drop_exits(network)) + heads


def test_curve_and_thresholds(network, tmp_path):
    x, y = blobs(150, seed=4)
    curve = exit_curve(network, x, y, [0.0, 0.5, [0.9, 0.6], 2.0])
    assert curve.thresholds[2] == [0.9, 0.6] and curve.shares.shape == (4, 3)
    early = [early_exit(network, each).evaluate(x, y) for each in curve.thresholds]
    np.testing.assert_allclose(curve.accuracy, [each["accuracy"] for each in early])
    np.testing.assert_allclose(curve.flops, [each["flops"] for each in early])
    assert curve.accuracy[0] == curve.exit_accuracy[0] and curve.accuracy[-1] == curve.exit_accuracy[-1]
    assert str(curve).count("\n") == 5 and "100.0% 0.0% 0.0%" in str(curve)
    curve.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG" and os.listdir(tmp_path) == ["curve.png"]
    assert len(exit_curve(network, x, y).thresholds) > 10

    last = curve.exit_accuracy[-1]
    chosen = exit_curve(network, x, y, [choose_thresholds(network, x, y, accuracy_drop=0.02)])
    assert chosen.accuracy[0] >= last - 0.02 - 1e-9 and chosen.flops[0] < curve.flops[-1]
    budget = float(np.mean(curve.exit_flops[:2]))
    chosen = exit_curve(network, x, y, [choose_thresholds(network, x, y, flops=budget)])
    within_budget = curve.flops <= budget
    assert chosen.flops[0] <= budget and chosen.accuracy[0] >= curve.accuracy[within_budget].max()


def test_what_early_exits_refuse(network):
    x, y = blobs(10)
    for wrong in ([0.5], [0.5] * 3):
        with pytest.raises(ValueError, match=r"one number for each of the 2 exits before the last"):
            early_exit(network, wrong)
        with pytest.raises(ValueError, match=r"one number for each of the 2 exits before the last"):
            exit_curve(network, x, y, [wrong])
    with pytest.raises(TypeError, match=r"`thresholds` must be a list of numbers.*0\.5"):
        early_exit(network, 0.5)
    for nothing in (x[:0], tf.data.Dataset.from_tensor_slices(x).batch(5)):
        with pytest.raises(ValueError, match=r"`x` must be an array of at least one input"):
            early_exit(network, [0.5, 0.5]).predict(nothing)
    with pytest.raises(ValueError, match=r"`thresholds` must be at least 0"):
        early_exit(network, [-0.1, 0.5])
    with pytest.raises(ValueError, match=r"with 1 output.*attach_exits\(model, exits\) makes one"):
        early_exit(small_network(4), [0.5])
    with pytest.raises(TypeError, match=r"must be a keras.Model with exits"):
        early_exit("model", [0.5])
    with pytest.raises(ValueError, match=r"Give either `flops` or `accuracy_drop`"):
        choose_thresholds(network, x, y)
    with pytest.raises(ValueError, match=r"`flops` must be at least .*The first exit already needs"):
        choose_thresholds(network, x, y, flops=1.0)
    with pytest.raises(ValueError, match=r"y must be 10 class indices"):
        choose_thresholds(network, x, y + 9, accuracy_drop=0.1)


def test_a_network_of_two_inputs_is_not_run_exit_by_exit():
    inputs = [keras.Input((6,)), keras.Input((6,))]
    hidden = layers.Dense(6, name="hidden")(layers.Concatenate()(inputs))
    made = attach_exits(keras.Model(inputs, layers.Dense(3)(layers.ReLU()(hidden))), ["hidden"])
    with pytest.raises(ValueError, match=r"`model` must have one input.*with 2"):
        early_exit(made, [0.5])


def test_a_connection_past_an_exit_cannot_be_cut():
    inputs = keras.Input((6,))
    early = layers.Dense(6, name="early")(inputs)
    late = layers.Dense(6, name="late")(early)
    plain = keras.Model(inputs, layers.Dense(3, name="out")(layers.Concatenate()([inputs, late])))
    with pytest.raises(ValueError, match=r"cannot be split at the exit 'exit_1'.*bypass it.*joined"):
        segments(attach_exits(plain, ["early"]))
