import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import small_network
from tfkd import students
from tfkd.taps import named_layers


def test_the_network_up_to_a_layer_with_a_head():
    model = small_network(4)
    student = students.up_to_layer(model, "relu1")
    names = [layer.name for layer in student.layers]
    assert names == ["image", "conv1", "norm1", "relu1", "exit_pooling", "exit_logits"]
    assert student.output_shape == model.output_shape and student.input_shape == model.input_shape
    assert not np.allclose(student.get_layer("conv1").kernel, model.get_layer("conv1").kernel)
    assert "exit_logits" in named_layers(student)


def test_inherited_layers_compute_the_same_on_weights_of_their_own():
    model = small_network(4)
    x = np.random.default_rng(0).uniform(size=(2, *model.input_shape[1:])).astype("float32")
    student = students.up_to_layer(model, "pool", inherit=True)
    head = student.get_layer("exit_logits")
    inner = keras.Model(model.inputs[0], model.get_layer("pool").output)(x)
    expected = np.mean(inner, axis=(1, 2)) @ head.kernel.numpy() + head.bias.numpy()
    np.testing.assert_allclose(student(x), expected, rtol=1e-5, atol=1e-6)
    student.get_layer("conv1").kernel.assign(0 * student.get_layer("conv1").kernel)
    assert np.any(model.get_layer("conv1").kernel)


@pytest.mark.parametrize(("shape", "names"), [((5,), []), ((6, 3), ["exit_pooling"])])
def test_vectors_and_series(shape, names):
    inputs = keras.Input(shape)
    x = layers.Dense(4, activation="relu", name="hidden")(inputs)
    x = x if len(shape) == 1 else layers.Flatten()(x)
    student = students.up_to_layer(keras.Model(inputs, layers.Dense(2)(x)), "hidden")
    assert [layer.name for layer in student.layers][1:] == ["hidden", *names, "exit_logits"]
    assert student.output_shape == (None, 2)


def test_what_cannot_be_cut():
    with pytest.raises(ValueError, match=r"Unknown layer of 'net' 'relu2'. Did you mean 'relu1'"):
        students.up_to_layer(small_network(), "relu2")
    inputs = keras.Input((4,))
    two = keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(2)(inputs)])
    with pytest.raises(ValueError, match="one input and one output"):
        students.up_to_layer(two, "dense")
