"""Pixel-wise entropies against their closed form for linear features."""

import keras
import numpy as np
import pytest

from tests.conftest import SHAPE, blobs, small_network
from tfkd.analysis import EntropyProbe, entropy_plot

pytestmark = pytest.mark.slow

SIDES = (4, 5, 2)
IMAGES = np.random.default_rng(0).uniform(size=(6, *SIDES)).astype("float32")


def linear(dtype=None):
    """Linear features, whose first pixel is left out."""
    x = inputs = keras.Input(SIDES)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(30, use_bias=False, name="features", dtype=dtype)(x)
    model = keras.Model(inputs, x)
    kernel = np.random.default_rng(1).normal(size=(40, 30)) * np.linspace(0.5, 3, 40)[:, None]
    kernel[:2] = 0
    model.set_weights([kernel])
    return model, kernel


def closed_form(kernel, images, tolerance, largest):
    """Where the loss's derivative by log(sigma) is 0: 2 sigma^2 |J|^2 / Var = weight."""
    variance = (images.reshape(len(images), -1) @ kernel).var(axis=0).sum()
    jacobian = (kernel.reshape(*SIDES, -1) ** 2).sum(axis=(2, 3))
    with np.errstate(divide="ignore"):
        sigma = np.sqrt(2 * tolerance / (SIDES[0] * SIDES[1]) * variance / (2 * jacobian))
    return np.log(np.minimum(sigma, largest)) + 0.5 * np.log(2 * np.pi * np.e)


@pytest.mark.parametrize("how", ["graph", "xla", "half"])
def test_of_linear_features(how):
    model, kernel = linear("mixed_bfloat16" if how == "half" else None)
    probe = EntropyProbe(model, "features", samples=64, steps=150, jit_compile=how == "xla")
    found = probe(IMAGES)
    expected = closed_form(kernel, IMAGES, 0.1, 1.0)
    assert found.shape == (6, *SIDES[:2]) and found.dtype == "float32"
    # All images have the same noise to look for; sampling leaves a few hundredths.
    assert np.abs(found - expected).max() < 0.15
    assert np.abs(found.mean(axis=0) - expected).max() < 0.08
    assert found[:, 0, 0] == pytest.approx(np.full(6, expected[0, 0]))


def test_a_larger_tolerance_gives_more_entropy_up_to_the_largest():
    model, kernel = linear()
    for tolerance, largest in ((0.4, 5.0), (0.4, 0.1)):
        found = EntropyProbe(
            model, "features", tolerance=tolerance, largest=largest, samples=32, steps=150
        )(IMAGES)
        assert np.abs(found - closed_form(kernel, IMAGES, tolerance, largest)).max() < 0.2


def test_calls_repeat_and_see_changed_weights():
    model, _ = linear()
    probe = EntropyProbe(model, "features", steps=5)
    before = probe(IMAGES)
    assert (before == probe(IMAGES)).all()
    assert (before != EntropyProbe(model, "features", steps=5, seed=1)(IMAGES)).any()
    model.set_weights([w[::-1] for w in model.get_weights()])
    assert (probe(IMAGES) != before).any()
    # Features of another scale are the same knowledge.
    model.set_weights([8 * w[::-1] for w in model.get_weights()])
    assert probe(IMAGES) == pytest.approx(before, abs=1e-4)


def test_parts_of_memory_give_all_images():
    model, _ = linear()
    many = np.random.default_rng(2).uniform(size=(70, *SIDES)).astype("float32")
    assert EntropyProbe(model, "features", steps=2, samples=4)(many).shape == (70, *SIDES[:2])


def test_dead_features_keep_nothing():
    model, _ = linear()
    model.set_weights([np.zeros((40, 30))])
    probe = EntropyProbe(model, "features", largest=0.5)
    assert probe(IMAGES) == pytest.approx(np.log(0.5) + 0.5 * np.log(2 * np.pi * np.e))


def test_plot(tmp_path):
    images, path = np.zeros((2, *SHAPE)), tmp_path / "entropies.png"
    entropy_plot(images, {"one": images[..., 0], "two": images[..., 0] - 1}, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="`entropies` must have shape"):
        entropy_plot(images, {"one": images[:1, ..., 0]}, path)
    with pytest.raises(ValueError, match="must not be empty"):
        entropy_plot(images, {}, path)


def test_bad_input():
    model = small_network()
    for wrong in ({"tolerance": 0}, {"largest": 0}, {"steps": 0}, {"samples": 0}, {"learning_rate": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}`"):
            EntropyProbe(model, "relu1", **wrong)
    with pytest.raises(ValueError, match="No layer 'relu9'"):
        EntropyProbe(model, "relu9")
    with pytest.raises(ValueError, match="`model` must have one input, images"):
        EntropyProbe(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), "dense")
    with pytest.raises(ValueError, match="`images` must be at least two"):
        EntropyProbe(model, "relu1")(blobs(1)[0])
