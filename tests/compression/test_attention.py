"""Projections of attention are quantized; what cannot be stays in float where the rest is quantized."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd import compression, export

RNG = np.random.default_rng(0)
X, Y = RNG.random((64, 12, 12, 3)).astype("float32"), RNG.integers(0, 5, 64)
SERIES = RNG.random((32, 6, 4)).astype("float32")


def vision_transformer():
    inputs = keras.Input((12, 12, 3))
    tokens = layers.Reshape((36, 8))(layers.Conv2D(8, 2, strides=2, name="patches")(inputs))
    normed = layers.LayerNormalization()(tokens)
    attended = layers.MultiHeadAttention(2, 4, dropout=0.1, name="attention")(normed, normed)
    tokens = layers.Add()([tokens, attended])
    hidden = layers.Dense(16, activation="relu", name="hidden")(layers.LayerNormalization()(tokens))
    tokens = layers.Add()([tokens, layers.Dense(8, name="back")(hidden)])
    return keras.Model(inputs, layers.Dense(5, name="logits")(layers.GlobalAveragePooling1D()(tokens)))


def on_series(layer):
    inputs = keras.Input((6, 4))
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(layer(inputs))))


def with_state():
    inputs = keras.Input((6, 4))
    series, *state = layers.LSTM(4, return_state=True, return_sequences=True, name="first")(inputs)
    return keras.Model(
        inputs, layers.Dense(3)(layers.GRU(4, name="second")(series, initial_state=state[0]))
    )


@pytest.mark.slow
def test_a_vision_transformer_trains_quantization_aware_and_is_exported(tmp_path):
    teacher = vision_transformer()
    student = compression.quantize_aware(teacher, images=X)
    left = compression.float_layers(student)
    assert "attention/dot_product" in left
    assert not {"patches", "attention", "hidden", "back", "logits"} & set(left)
    distiller = tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets(4.0), student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-3))
    losses = distiller.fit(X, epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    student.save(tmp_path / "student.keras")
    loaded = keras.models.load_model(tmp_path / "student.keras")
    np.testing.assert_allclose(loaded(X), student(X), atol=1e-5)
    check = export.export_tflite(student, None, "int8", verification_data=X)
    assert check.agreement > 0.9 and check.relative_difference < 0.05
    with tfkd.taps.record(student, ["attention"]) as seen:
        student(X)
    assert seen["attention"].shape == (64, 36, 8)


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (
            lambda: on_series(lambda x: layers.MultiHeadAttention(2, 4, name="a")(x, x)),
            "a/dot_product",
        ),
        (
            lambda: on_series(lambda x: layers.MultiHeadAttention(2, 4, name="a")(query=x, value=x, key=x)),
            "a/dot_product",
        ),
        (
            lambda: on_series(
                lambda x: layers.MultiHeadAttention(2, 4, name="a")(x, x, use_causal_mask=True)
            ),
            "a",
        ),
        (lambda: on_series(lambda x: layers.Attention(name="a")([x, x])), "a"),
        (lambda: on_series(layers.Bidirectional(layers.GRU(3), name="a")), "a"),
        (with_state, "second"),
    ],
    ids=["positional", "keywords", "causal", "attention", "bidirectional", "state"],
)
def test_whatever_tfmot_cannot_quantize_stays_in_float(make, left):
    student = compression.quantize_aware(make(), images=SERIES)
    assert left in compression.float_layers(student)
    plain = compression.strip(student)
    np.testing.assert_allclose(plain(SERIES), student(SERIES), atol=0.1)


def test_inputs_of_whole_numbers_are_left_as_they_are():
    words = keras.Input((12,), dtype="int32")
    averaged = layers.GlobalAveragePooling1D()(layers.Embedding(20, 8, name="words")(words))
    model = keras.Model(words, layers.Dense(4, name="logits")(averaged))
    x = RNG.integers(0, 20, (32, 12))
    student = compression.quantize_aware(model, images=x)
    assert compression.float_layers(student) == []
    np.testing.assert_allclose(student(x), model(x), atol=0.05)


def test_open_sides():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(
        inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(inputs)))
    )
    student = compression.quantize_aware(model, images=X)
    np.testing.assert_allclose(student(X), model(X), atol=0.05)


@pytest.mark.slow
def test_loops_that_cannot_be_converted_come_with_advice():
    inputs = keras.Input((6, 4))
    student = compression.quantize_aware(
        keras.Model(inputs, layers.Dense(3)(layers.LSTM(4)(inputs))), images=SERIES
    )
    with pytest.raises(RuntimeError, match=r"unroll=True, or export to 'dynamic'"):
        export.export_tflite(student, None, "int8", verification_data=SERIES)
