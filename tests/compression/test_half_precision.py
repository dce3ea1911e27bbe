"""Students that train in half precision are compressed and exported like others."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tests.conftest import SHAPE, blobs
from tfkd import compression, export
from tfkd._core.precision import in_float32

X, Y = blobs(48)
LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16"])
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def convolutional():
    """With an average, which Keras 3 and tf_keras add up in different orders."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
    x = layers.BatchNormalization()(layers.SeparableConv2D(8, 3)(x))
    return keras.Model(inputs, layers.Dense(4, dtype="float32")(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize(
    "compress",
    [
        lambda model: compression.prune(model, 0.5),
        lambda model: compression.cluster(model, 8),
        lambda model: compression.quantize_aware(model, images=X),
    ],
    ids=["prune", "cluster", "quantize_aware"],
)
def test_compression(policy, compress):
    model = convolutional()
    student = compress(model)
    # As before, whatever was done on the way.
    assert model.layers[1].compute_dtype == policy.removeprefix("mixed_")
    distiller = tfkd.Distiller(model, student, tfkd.losses.SoftTargets(2.0))
    distiller.compile("adam", LABELS_LOSS)
    assert np.isfinite(distiller.fit(X, Y, verbose=0).history["loss"][0])
    plain = compression.strip(student)
    np.testing.assert_allclose(plain(X), student(X), atol=0.1)


def dense():
    inputs = keras.Input(SHAPE)
    x = layers.Dense(6, activation="relu")(layers.Flatten()(inputs))
    # An operation between precisions.
    return keras.Model(inputs, layers.Dense(4)(layers.Dense(6)(x) + layers.Dense(6, dtype="float32")(x)))


@pytest.mark.parametrize("how", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_dense_layers_of_half_precision(how):
    keras.config.set_dtype_policy(how)
    try:
        model = dense()
    finally:
        keras.config.set_dtype_policy("float32")
    for student in (compression.prune(model, 0.5), compression.cluster(model, 4)):
        student.compile("sgd", LABELS_LOSS)
        assert np.isfinite(student.fit(X, Y, verbose=0).history["loss"][0])
        assert compression.strip(student)(X).shape == (48, 4)


def recurrent():
    inputs = keras.Input((6, 4))
    return keras.Model(inputs, layers.Dense(4)(layers.Bidirectional(layers.LSTM(5, unroll=True))(inputs)))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = convolutional()

    def call(self, inputs):
        return 2 * self.inner(inputs)


@pytest.mark.slow
@pytest.mark.parametrize("make", [convolutional, recurrent, Own])
def test_files(policy, make):
    model = make()
    x = (
        np.random.default_rng(0)
        .random((16, *(SHAPE if make is not recurrent else (6, 4))))
        .astype("float32")
    )
    model(x)
    check = export.export_tflite(model, None, "float32", verification_data=x)
    with in_float32(model):
        expected = model(x)
    assert check.max_difference < 1e-4 * float(np.abs(expected).max()) + 1e-6
    # Half precision is the model's own affair: the file follows what its weights say.
    assert model.compute_dtype == policy.removeprefix("mixed_")


def test_weights_of_half_precision_are_copied():
    keras.config.set_dtype_policy("float16")
    try:
        model = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.BatchNormalization()])
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.random.default_rng(0).random((5, 3)).astype("float32")
    with in_float32(model) as copy:
        assert all(weight.dtype == "float32" for weight in copy.weights)
        assert copy(x).dtype == "float32"
        np.testing.assert_allclose(copy(x), np.asarray(model(x), "float32"), atol=2e-3)
    assert model.layers[0].compute_dtype == "float16"
