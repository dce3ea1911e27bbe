"""CKA against the definition of the unbiased estimator, written as sums over examples."""

import itertools

import keras
import numpy as np
import pytest

from tests.conftest import blobs, small_network
from tfkd.analysis import cka, cka_plot

pytestmark = pytest.mark.slow

TAPS = ["relu1", "pool", "logits:input", "logits"]


def hsic(a, b):
    """The U-statistic: the mean over all quadruples of different examples."""
    n = len(a)
    terms = [
        a[i, j] * (b[i, j] + b[q, r] - 2 * b[i, q]) for i, j, q, r in itertools.permutations(range(n), 4)
    ]
    return np.mean(terms)


def linear_cka(first, second):
    a, b = ((x.reshape(len(x), -1).astype("float64")) for x in (first, second))
    a, b = a @ a.T, b @ b.T
    return hsic(a, b), hsic(a, a), hsic(b, b)


def features(model, taps, x):
    layers = [model.get_layer(tap.removesuffix(":input")) for tap in taps]
    outputs = [
        layer.input if tap.endswith(":input") else layer.output
        for tap, layer in zip(taps, layers, strict=True)
    ]
    return keras.Model(model.inputs, outputs).predict(x, verbose=0)


@pytest.mark.parametrize("batch_size", [16, 8])
def test_of_two_networks(batch_size):
    first, second = small_network(4), small_network(6)
    x, _ = blobs(16)
    found = cka(first, second, x, TAPS[2:], TAPS, batch_size=batch_size)
    assert found.shape == (2, 4)
    for i, j in np.ndindex(2, 4):
        parts = np.array(
            [
                linear_cka(features(first, TAPS[2:], part)[i], features(second, TAPS, part)[j])
                for part in np.split(x, 16 // batch_size)
            ]
        ).sum(axis=0)
        assert found[i, j] == pytest.approx(parts[0] / np.sqrt(parts[1] * parts[2]), rel=1e-4)


def test_a_network_is_like_itself_and_a_turned_one():
    model, x = small_network(4), blobs(64)[0]
    assert np.allclose(np.diag(cka(model, model, x, TAPS, TAPS)), 1)
    turned = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="turn")])
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Identity(name="same")])
    points = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))
    turned.set_weights([3 * rotation, np.full(4, 100.0)])
    assert cka(plain, turned, points, ["same"], ["turn"])[0, 0] == pytest.approx(1, abs=1e-4)


def test_unrelated_features_give_about_zero_however_many_there_are():
    """The biased estimator would give 0.9 here: there are more features than examples."""
    shapes = keras.Sequential([keras.Input((2, 500)), keras.layers.Identity(name="all")])
    left = keras.Sequential([shapes, keras.layers.Cropping1D((0, 1), name="left")])
    right = keras.Sequential([shapes, keras.layers.Cropping1D((1, 0), name="right")])
    x = np.random.default_rng(0).normal(size=(64, 2, 500)).astype("float32")
    assert abs(cka(left, right, x, ["left"], ["right"])[0, 0]) < 0.1


def test_constant_features_have_none():
    model = small_network(4)
    model.get_layer("logits").set_weights([np.zeros((576 // 2, 4)), np.ones(4)])
    assert np.isnan(cka(model, model, blobs(8)[0], ["logits"], ["logits"])).all()


def test_plot(tmp_path):
    cka_plot(np.eye(2, 3), tmp_path / "cka.png", ["a", "b"], ["c", "d", "e"])
    assert (tmp_path / "cka.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"`matrix` must have shape \(1, 3\)"):
        cka_plot(np.eye(2, 3), tmp_path / "cka.png", ["a"], ["c", "d", "e"])


def test_bad_input():
    model, x = small_network(4), blobs(8)[0]
    with pytest.raises(ValueError, match="No layer 'relu9'"):
        cka(model, model, x, ["relu9"], ["relu1"])
    with pytest.raises(ValueError, match="`inputs` must have at least 4 examples"):
        cka(model, model, x[:3], ["relu1"], ["relu1"])
    with pytest.raises(ValueError, match="`batch_size`"):
        cka(model, model, x, ["relu1"], ["relu1"], batch_size=3)
