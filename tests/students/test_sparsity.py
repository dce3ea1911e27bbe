"""Dense students with the parameters that pruning left."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import small_network
from tfkd import students
from tfkd.compression import magnitude_masks, sparsity
from tfkd.compression._sparse import kernels


def pruned(model, share, seed=0):
    """Random zeros, in other shares in each layer."""
    rng = np.random.default_rng(seed)
    for i, kernel in enumerate(kernels(model)):
        keep = 1 - share * (1 + 0.2 * (-1) ** i)
        kernel.assign(kernel * (rng.uniform(size=kernel.shape) < keep))
    return model


def vgg():
    x = inputs = keras.Input((16, 16, 3))
    for i, width in enumerate((16, 24, 32)):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(40, "relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, name="logits")(x))


def test_widths_are_those_of_the_formula():
    model = pruned(vgg(), 0.7)
    student = students.from_sparsity(model)
    channels, spots = 3.0, 1
    for name, kernel_area in (("conv0", 9), ("conv1", 9), ("conv2", 9), ("hidden", 1)):
        if name == "hidden":
            spots = 2 * 2
        left = np.count_nonzero(model.get_layer(name).get_weights()[0])
        exact = left / (channels * spots * kernel_area)
        layer = student.get_layer(name)
        width = layer.units if name == "hidden" else layer.filters
        # Widths of layers before are rounded in the student, not in the plan.
        assert abs(width - exact) <= 0.5 + 1e-6
        channels = exact
    assert student.get_layer("logits").units == 10
    assert student.output_shape == model.output_shape


def weights_left(model):
    """All but those of the layer that makes the outputs, whose width is no matter of sparsity."""
    return sum(np.count_nonzero(kernel) for kernel in kernels(model)[:-1])


@pytest.mark.parametrize(
    "make",
    [
        vgg,
        lambda: students.resnet(20, widths=(32, 64, 128)),
        lambda: students.wide_resnet(16, 4),
        lambda: keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=10),
    ],
    ids=["vgg", "resnet", "wide resnet", "mobilenet"],
)
def test_as_many_parameters_as_are_left(make):
    model = pruned(make(), 0.6)
    student = students.from_sparsity(model)
    assert len(student.layers) == len(model.layers)
    assert weights_left(student) == pytest.approx(weights_left(model), rel=0.1)
    assert np.isfinite(student(np.zeros((1, *model.input_shape[1:])))).all()


def test_concatenated_and_separable_layers():
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, padding="same")(x)
    for _ in range(3):
        new = layers.SeparableConv2D(32, 3, padding="same", activation="relu")(x)
        x = layers.Concatenate()([x, new])
    model = keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))
    rng = np.random.default_rng(0)
    for layer in model.layers:
        kernel = getattr(layer, "pointwise_kernel", getattr(layer, "kernel", None))
        if kernel is not None:
            kernel.assign(kernel * (rng.uniform(size=kernel.shape) < 0.3))
    student = students.from_sparsity(model)

    def pointwise(network):
        found = [layer for layer in network.layers if isinstance(layer, layers.SeparableConv2D)]
        return sum(np.count_nonzero(layer.pointwise_kernel) for layer in found)

    assert pointwise(student) == pytest.approx(pointwise(model), rel=0.1)


def test_bad_input():
    dense = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    dense.layers[0].kernel.assign(np.eye(8, 4))
    with pytest.raises(ValueError, match="no hidden layer"):
        students.from_sparsity(dense)
    with pytest.raises(ValueError, match="has no zeros in its kernels"):
        students.from_sparsity(small_network())
    model = small_network()
    model.get_layer("conv2").kernel.assign(0 * model.get_layer("conv2").kernel)
    with pytest.raises(ValueError, match="all weights of conv2"):
        students.from_sparsity(model)

    class Code(keras.Model):
        pass

    with pytest.raises(ValueError, match="must be functional"):
        students.from_sparsity(Code())


def test_criteria_of_thinning():
    model = small_network(8)
    rng = np.random.default_rng(0)
    scales = rng.permutation(np.linspace(0.1, 2, 8))
    norms = rng.permutation(np.linspace(0.5, 1.5, 8))
    model.get_layer("norm1").gamma.assign(scales)
    kernel = rng.normal(size=(3, 3, 1, 8))
    kernel *= norms / np.sqrt((kernel**2).sum((0, 1, 2)))
    model.get_layer("conv1").kernel.assign(kernel)
    for criterion, sizes in (("scale", scales), ("norm", norms)):
        student = students.scale_width(model, 0.5, inherit=True, criterion=criterion)
        best = np.sort(np.argsort(sizes)[4:])
        np.testing.assert_array_equal(student.get_layer("norm1").gamma, scales[best].astype("float32"))
        assert students.kept_channels(model, student, criterion)["norm1"] == best.tolist()
    with pytest.raises(ValueError, match="`criterion` must be one of worth, norm, scale"):
        students.scale_width(model, 0.5, inherit=True, criterion="size")


def test_masks_and_students_go_together():
    model = small_network(16)
    for kernel, mask in zip(kernels(model), magnitude_masks(model, 0.75), strict=True):
        kernel.assign(kernel * mask)
    student = students.from_sparsity(model)
    assert sparsity(student) == 0.0
    assert weights_left(student) == pytest.approx(weights_left(model), rel=0.2)
