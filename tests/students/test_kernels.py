import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import small_network
from tfkd import students


def network(size=3):
    """Convolutions that follow and others that stay."""
    inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, size, padding="same", name="conv")(inputs)
    x = layers.Conv2D(4, size, 2, padding="same", use_bias=False, name="halved")(x)
    x = layers.DepthwiseConv2D(size, padding="same", name="depthwise")(x)
    x = layers.SeparableConv2D(5, size, padding="same", name="separable")(x)
    x = layers.Conv2D(3, 1, padding="same", name="mixing")(x)
    x = layers.Conv2D(3, 3, name="valid")(x)
    x = layers.Conv2D(3, 2, 3, padding="same", name="far")(layers.UpSampling2D(3)(x))
    return keras.Model(inputs, layers.Dense(3, name="logits")(layers.Flatten()(x)))


def sizes(model):
    return {layer.name: layer.kernel_size for layer in model.layers if hasattr(layer, "kernel_size")}


def test_kernels_that_can_change_and_those_that_stay():
    student = students.with_kernel_size(network(), 5)
    assert sizes(student) == {
        **dict.fromkeys(("conv", "halved", "depthwise", "separable"), (5, 5)),
        "mixing": (1, 1),
        "valid": (3, 3),
        "far": (2, 2),
    }
    assert student.output_shape == (None, 3) and student.name.endswith("kernel5")


@pytest.mark.parametrize(("size", "other"), [(3, 5), (3, 7), (5, 9)])
def test_a_small_kernel_amid_zeros_computes_the_same_and_comes_back(size, other):
    model = network(size)
    x = np.random.default_rng(0).uniform(size=(2, 8, 8, 2)).astype("float32")
    larger = students.with_kernel_size(model, other, inherit=True)
    np.testing.assert_allclose(larger(x), model(x), rtol=1e-5, atol=1e-6)
    again = students.with_kernel_size(larger, size, inherit=True)
    for mine, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_the_middle_of_a_larger_kernel():
    model = network(5)
    kernel = model.get_layer("conv").kernel.numpy()
    smaller = students.with_kernel_size(model, 3, inherit=True).get_layer("conv").kernel.numpy()
    np.testing.assert_array_equal(smaller, kernel[1:4, 1:4])
    even = students.with_kernel_size(model, 2, inherit=True).get_layer("conv").kernel.numpy()
    np.testing.assert_array_equal(even, kernel[2:4, 2:4])


def test_a_new_student_learns_and_shares_nothing():
    model = small_network(4)
    model.trainable = False
    student = students.with_kernel_size(model, 5)
    assert len(student.trainable_weights) == 7
    assert not np.allclose(student.get_layer("logits").kernel, model.get_layer("logits").kernel)
    kept = students.with_kernel_size(model, 5, inherit=True)
    kept.get_layer("conv1").kernel.assign(0 * kept.get_layer("conv1").kernel)
    assert np.any(model.get_layer("conv1").kernel)


def test_what_has_no_such_kernels():
    with pytest.raises(ValueError, match="no convolution whose kernel size can be changed"):
        students.with_kernel_size(keras.Sequential([keras.Input((3,)), layers.Dense(2)]), 3)
    with pytest.raises(ValueError, match="`size` must be an integer of at least 2"):
        students.with_kernel_size(small_network(), 1)
    with pytest.raises(ValueError, match="must be functional"):
        students.with_kernel_size(keras.Sequential([layers.Dense(2)]), 3)
