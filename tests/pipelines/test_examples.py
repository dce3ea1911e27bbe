"""Real examples of every form, and what does not fit."""

import keras
import numpy as np
import pytest

from tests.conftest import CLASSES, SHAPE, small_network
from tfkd.pipelines import load_examples

X = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), dtype="uint8")
Y = np.arange(6) % CLASSES


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture
def save(tmp_path):
    def write(**arrays):
        np.savez(tmp_path / "data.npz", **arrays)
        return tmp_path / "data.npz"

    return write


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, Y),
        (X[..., 0], Y),
        (X / 255.0, Y[:, None]),
        ((X / 255).astype("float16"), Y.astype("float32")),
    ],
    ids=["uint8", "no channel", "float64", "float16"],
)
def test_examples_of_every_form(save, network, x, y):
    for source in (save(x_test=x, y_test=y), str(save(x_test=x, y_test=y)), (x, y)):
        inputs, labels = load_examples(source, network)
        assert inputs.dtype == np.float32 and labels.dtype == np.int64
        np.testing.assert_allclose(inputs, X / 255.0, atol=1e-3)
        np.testing.assert_array_equal(labels, Y)


def test_examples_to_train_on(save, network):
    inputs, _ = load_examples(save(x_train=X, y_train=Y), network, "train", "training_data")
    assert len(inputs) == 6


def test_inputs_that_are_not_images_have_any_scale():
    vectors = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    x = np.linspace(-5, 5, 12).reshape(4, 3)
    inputs, labels = load_examples((x, [0, 1, 1, 0]), vectors)
    np.testing.assert_allclose(inputs, x, rtol=1e-6)
    np.testing.assert_array_equal(labels, [0, 1, 1, 0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_test": X}, "lacks y_test"),
        ({"images": X}, "lacks x_test and y_test; it has"),
        ({"x_test": X[:, :5], "y_test": Y}, r"shape \(n, 12, 12, 1\)"),
        ({"x_test": X[:0], "y_test": Y[:0]}, "inputs of `evaluation_data` must have"),
        ({"x_test": X.astype("float32"), "y_test": Y}, "between 0 and 1"),
        ({"x_test": X.astype("int32"), "y_test": Y}, "must be uint8"),
        ({"x_test": X, "y_test": Y[:3]}, "6 class indices"),
        ({"x_test": X, "y_test": Y + 1}, "from 0 to 3"),
        ({"x_test": X, "y_test": Y + 0.5}, "from 0 to 3"),
    ],
)
def test_examples_that_do_not_fit(save, network, arrays, message):
    with pytest.raises(ValueError, match=message):
        load_examples(save(**arrays), network)


def test_examples_that_are_not_there(tmp_path, network):
    with pytest.raises(FileNotFoundError, match=r"`evaluation_data`: the file .* does not exist"):
        load_examples(tmp_path / "none.npz", network)
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(ValueError, match="not a readable npz"):
        load_examples(tmp_path / "text.npz", network)
    with pytest.raises(TypeError, match="must be an npz file or"):
        load_examples(X[:3], network)
