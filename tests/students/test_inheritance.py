import keras
import numpy as np
import pytest
from keras import layers

from tests.students.test_students import branches
from tfkd import students


def randomize(model, seed=0):
    """Weights of any size everywhere, moving variances above 0."""
    rng = np.random.default_rng(seed)
    model.set_weights([np.abs(rng.normal(size=w.shape)) + 0.1 for w in model.get_weights()])
    for layer in model._flatten_layers():
        if hasattr(layer, "kernel"):
            layer.kernel.assign(rng.normal(size=layer.kernel.shape))
    return model


def silence(layer, channels):
    """Has a layer make nothing but zeros in some of its channels."""
    for weight in layer.weights[-2:]:
        values = weight.numpy()
        values[..., channels] = 0
        weight.assign(values)


def check_lossless(model, silent, factor=0.5):
    """Where half of the channels never reach another layer, half of the width computes the same."""
    for name, channels in silent.items():
        silence(model.get_layer(name), channels)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.beta.assign(0 * layer.beta)
            layer.moving_mean.assign(0 * layer.moving_mean)
        if isinstance(layer, layers.DepthwiseConv2D) and layer.use_bias:
            layer.bias.assign(0 * layer.bias)
    x = np.random.default_rng(1).uniform(size=(3, *model.input_shape[1:])).astype("float32")
    narrow = students.scale_width(model, factor, inherit=True)
    assert narrow.count_params() < model.count_params()
    np.testing.assert_allclose(narrow(x), model(x), rtol=1e-4, atol=1e-5)
    return narrow


def test_flattened_channels():
    model = keras.Sequential(
        [
            keras.Input((6, 5, 2)),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(),
            layers.Dense(6, activation="relu", name="hidden"),
            layers.Dense(3),
        ]
    )
    check_lossless(randomize(model), {"conv": [0, 3], "hidden": [1, 2, 5]})


def test_channels_joined_and_laid_side_by_side():
    silent = [0, 2, 3, 7]
    model = randomize(branches())
    norm = next(layer for layer in model.layers if isinstance(layer, layers.BatchNormalization))
    norm.moving_variance.assign([0.0 if i in silent else 1.0 for i in range(8)])
    check_lossless(model, {"a": silent, "sep": silent, "hidden": [0, 1, 5]})


def test_normalized_separable_and_transposed():
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, name="a")(inputs)
    x = layers.BatchNormalization(name="n")(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.DepthwiseConv2D(2, depth_multiplier=2, use_bias=False)(x)
    x = layers.SeparableConv2D(4, 2, depth_multiplier=3, name="b")(x)
    x = keras.ops.relu(x / 2.0)
    x = layers.Conv2DTranspose(6, 3, name="c", use_bias=False)(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalMaxPooling2D()(x)))
    randomize(model)
    # The kernel of a transposed convolution has the channels it makes before those it takes.
    kernel = model.get_layer("c").kernel.numpy()
    kernel[:, :, [0, 4, 5], :] = 0
    model.get_layer("c").kernel.assign(kernel)
    kernel = model.get_layer("a").kernel.numpy()
    kernel[..., [1, 2]] = 0
    model.get_layer("a").kernel.assign(kernel)
    model.get_layer("n").moving_variance.assign([1.0, 0.0, 0.0, 1.0])
    check_lossless(model, {"b": [0, 2]})


def test_shared_and_nested():
    inner = keras.Sequential([keras.Input((3,)), layers.Dense(4, name="first")], name="inner")
    shared = layers.Dense(4, name="shared")
    inputs = keras.Input((3,))
    x = inner(inputs)
    x = layers.Add()([shared(x), shared(keras.ops.relu(x))])
    model = randomize(keras.Model(inputs, layers.Dense(2)(x)))
    silence(inner.get_layer("first"), [1, 2])
    check_lossless(model, {"shared": [0, 3]})


def test_kept_channels_are_those_of_the_largest_norm():
    """Of the kernel that makes them times the kernel that takes them."""
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(4, name="a"), layers.ReLU(name="r"), layers.Dense(2)]
    )
    model.get_layer("a").kernel.assign([[1.0, -3.0, 4.0, 2.0], [0.0, 0.0, 3.0, 0.0]])
    model.layers[-1].kernel.assign([[3.0, 0.0], [-2.0, 0.0], [0.1, 0.0], [0.0, 2.0]])
    narrow = students.scale_width(model, 0.5)
    kept = students.kept_channels(model, narrow)
    assert kept["a"] == kept["r"] == [1, 3]
    inheriting = students.scale_width(model, 0.5, inherit=True)
    np.testing.assert_array_equal(inheriting.get_layer("a").kernel, [[-3.0, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(inheriting.layers[-1].kernel, np.asarray(model.layers[-1].kernel)[[1, 3]])


def normalized_branches():
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="a")(inputs)
    x = layers.BatchNormalization(name="n")(x)
    shortcut = layers.Conv2D(4, 1, name="b")(x)
    x = layers.Add()([shortcut, layers.BatchNormalization(name="m")(layers.Conv2D(4, 1, name="c")(x))])
    x = layers.Conv2DTranspose(3, 2, name="d")(x)
    model = randomize(keras.Model(inputs, layers.Dense(2)(layers.GlobalMaxPooling2D()(x))))
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(np.ones(layer.kernel.shape))
        if isinstance(layer, layers.BatchNormalization):
            layer.gamma.assign(np.ones(4))
            layer.moving_variance.assign(np.ones(4))
    return model


def kept(model, *names):
    chosen = students.kept_channels(model, students.scale_width(model, 0.5))
    return [chosen[name] for name in names]


def test_dead_channels_leave_first_however_large_their_kernels_are():
    model = normalized_branches()
    kernel = model.get_layer("a").kernel
    kernel.assign(np.ones(kernel.shape) * [40, 3, 2, 10])
    model.get_layer("n").moving_variance.assign([1e-6, 20.0, 10.0, 0.0])
    assert kept(model, "a") == [[1, 2]]


def test_joined_channels_are_worth_what_all_their_layers_say():
    model = normalized_branches()
    # The normalized branch makes most of the last; the kernel that takes them doubles the first.
    model.get_layer("m").gamma.assign([0.7, 0.1, 0.6, -1.0])
    kernel = model.get_layer("d").kernel
    kernel.assign(np.ones(kernel.shape) * [2, 1, 1, 1])
    assert kept(model, "b", "c", "m") == [[0, 3]] * 3
    # Without normalization 1 * 5, 2 * 2, 3 * 1 and 4 * 0.5.
    plain = keras.Sequential(
        [keras.Input((2,)), layers.Dense(4, name="e"), layers.Dense(4, name="f"), layers.Dense(2)]
    )
    plain.get_layer("e").kernel.assign([[1, 2, 3, 4], [0, 0, 0, 0]])
    plain.get_layer("f").kernel.assign(np.diag([5.0, 2.0, 1.0, 0.5]))
    assert kept(plain, "e") == [[0, 1]]


@pytest.mark.parametrize(
    "criterion, joined, alone",
    [
        # Norms 1, 2, 3, 4 and 4, 1, 1, 4 are joined by addition, 1, 5, 2, 4 stand beside.
        ("norm", [0, 3], [1, 3]),
        # Scales 4, 1, 3, 2 and 1, 5, -4, 2, each relative to its layer's mean, and 3, 1, 2, 0.5.
        ("scale", [1, 2], [0, 2]),
    ],
)
def test_published_criteria_go_through_addition_and_concatenation(criterion, joined, alone):
    inputs = keras.Input((4, 4, 1))
    sizes = {
        "a": ([1, 2, 3, 4], [4, 1, 3, 2]),
        "b": ([4, 1, 1, 4], [1, 5, -4, 2]),
        "c": ([1, 5, 2, 4], [3, 1, 2, 0.5]),
    }
    made = {}
    for name, (norms, scales) in sizes.items():
        convolution = layers.Conv2D(4, 1, use_bias=False, name=name)
        normalization = layers.BatchNormalization(name=f"n{name}")
        made[name] = normalization(convolution(inputs))
        convolution.kernel.assign(np.reshape(norms, (1, 1, 1, 4)))
        normalization.gamma.assign(scales)
    x = layers.Concatenate(name="all")([layers.Add()([made["a"], made["b"]]), made["c"]])
    model = keras.Model(inputs, layers.Dense(2, name="out")(layers.Flatten()(x)))
    narrow = students.scale_width(model, 0.5, inherit=True, criterion=criterion)
    chosen = students.kept_channels(model, narrow, criterion)
    assert chosen["a"] == chosen["b"] == joined and chosen["c"] == alone
    assert chosen["all"] == joined + [4 + i for i in alone]
    kernel = model.get_layer("out").kernel.numpy().reshape(4, 4, 8, 2)[:, :, chosen["all"]]
    np.testing.assert_array_equal(narrow.get_layer("out").kernel, kernel.reshape(64, 2))


def image_model(*middle):
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(8, 3, padding="same"),
            *middle,
            layers.Flatten(),
            layers.Dense(2),
        ]
    )


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (layers.Reshape((4, -1)), "changes the number of channels"),
        (layers.Permute((3, 1, 2)), "moves channels to another axis"),
        (layers.Reshape((-1, 8)), "moves channels to another axis"),
        (layers.BatchNormalization(axis=1), "one for each channel of the last axis"),
        (layers.LayerNormalization(axis=[1, 2]), "one for each channel of the last axis"),
        (layers.PReLU(shared_axes=[1, 2, 3]), None),
    ],
)
def test_layers_that_channels_cannot_be_followed_through(middle, reason):
    if reason is None:
        students.scale_width(image_model(middle), 0.5, inherit=True)
        return
    with pytest.raises(ValueError, match=reason):
        students.scale_width(image_model(middle), 0.5, inherit=True)


def test_networks_that_cannot_be_thinned():
    with pytest.raises(ValueError, match="at most 1 with inherit=True"):
        students.scale_width(branches(), 2.0, inherit=True)
    with pytest.raises(ValueError, match="must have the layers of"):
        students.kept_channels(image_model(), branches())
    with pytest.raises(ValueError, match="must not be wider"):
        students.kept_channels(branches(), students.scale_width(branches(), 2.0))
    with pytest.raises(ValueError, match="`model` must be functional"):
        students.kept_channels(keras.Sequential(), branches())


def test_frozen_teachers_have_students_that_learn():
    model = image_model()
    model.trainable = False
    assert len(students.scale_width(model, 0.5, inherit=True).trainable_weights) == 4


def test_inputs_may_be_reshaped_first():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((48,))
    x = layers.Reshape((4, 4, 3))(inputs)
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(layers.Flatten()(x)))
    student = students.scale_width(model, 0.5, inherit=True)
    kept = students.kept_channels(model, student)["conv"]
    kernel = model.get_layer("conv").kernel.numpy()
    np.testing.assert_array_equal(student.get_layer("conv").kernel, kernel[..., kept])
