import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tfkd.optimizers import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (40, 4), (1, 6)], ids=str)
def test_orthogonalized_keeps_directions_and_evens_sizes(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype("float32")
    ours = orthogonalized(tf.constant(matrix)).numpy()
    u, _, vt = np.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ ours @ vt.T
    np.testing.assert_allclose(inside, np.diag(np.diag(inside)), atol=1e-3)
    assert np.diag(inside).min() > 0.6 and np.diag(inside).max() < 1.3


def test_first_update_by_hand():
    kernel = keras.Variable(np.zeros((2, 2, 3, 4), "float32"))
    bias = keras.Variable(np.zeros(4, "float32"))
    rng = np.random.default_rng(1)
    gradients = [rng.normal(size=v.shape).astype("float32") for v in (kernel, bias)]
    Muon(0.1).apply([tf.constant(g) for g in gradients], [kernel, bias])
    # The scale of a matrix does not change its orthogonalization; 12 inputs, 4 outputs.
    direction = orthogonalized(tf.constant(gradients[0].reshape(12, 4))).numpy().reshape(2, 2, 3, 4)
    np.testing.assert_allclose(kernel, -0.1 * 0.2 * np.sqrt(12) * direction, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(bias, -0.1 * np.sign(gradients[1]), rtol=1e-3)


def test_momentum_is_carried_over_and_saved(teacher, tmp_path):
    def fresh():
        keras.utils.set_random_seed(0)
        model = small_network(4)
        model.compile(Muon(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.optimizer.build(model.trainable_variables)
        return model

    x, y = blobs(64)
    whole, first, second = fresh(), fresh(), fresh()
    whole.fit(x, y, epochs=2, shuffle=False, verbose=0)
    first.fit(x, y, epochs=1, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "half.weights.h5")
    second.load_weights(tmp_path / "half.weights.h5")
    second.fit(x, y, epochs=1, shuffle=False, verbose=0)
    for expected, weight in zip(whole.weights, second.weights, strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_trains(jit_compile):
    model = small_network(4)
    before = harness.snapshot(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(Muon(0.01), loss, metrics=["accuracy"], jit_compile=jit_compile)
    x, y = blobs(256)
    history = model.fit(x, y, epochs=6, batch_size=32, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    harness.assert_other_weights(before, model.weights)


def test_zero_gradients_move_nothing():
    kernel = keras.Variable(np.ones((3, 4), "float32"))
    Muon(0.1).apply([tf.zeros((3, 4))], [kernel])
    np.testing.assert_array_equal(kernel, np.ones((3, 4)))


def test_serialization_and_bad_momentum():
    copy = keras.optimizers.deserialize(keras.optimizers.serialize(Muon(0.3, momentum=0.8)))
    assert copy.momentum == 0.8 and float(copy.learning_rate.numpy()) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="`momentum` must be in"):
        tfkd.optimizers.Muon(momentum=1.0)
