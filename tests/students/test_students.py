import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tests.conftest import small_network
from tfkd import students

ZOO = {
    "lenet5": (students.lenet5, (28, 28, 1), 61_706),
    "lenet5 of 32 pixels": (lambda: students.lenet5((32, 32, 3)), (32, 32, 3), 62_006),
    "lenet5_half": (students.lenet5_half, (28, 28, 1), 15_738),
    # 272,474 is the published count with 1x1 shortcuts; 784 normalized channels have two statistics.
    "resnet20": (lambda: students.resnet(20), (32, 32, 3), 272_474 + 2 * 784),
    "resnet8": (lambda: students.resnet(8), (32, 32, 3), None),
    "wide_resnet16_1": (lambda: students.wide_resnet(16, 1), (32, 32, 3), None),
}


@pytest.mark.parametrize("name", ZOO)
def test_zoo(name):
    build, shape, params = ZOO[name]
    model = build()
    assert model.input_shape == (None, *shape) and model.output_shape == (None, 10)
    if params:
        assert model.count_params() == params
    x = np.random.default_rng(0).uniform(size=(2, *shape)).astype("float32")
    compiled = tf.function(model, jit_compile=True)
    np.testing.assert_allclose(compiled(x), model(x), rtol=1e-3, atol=1e-4)


def test_wide_resnet_of_the_papers():
    trainable = sum(int(np.prod(w.shape)) for w in students.wide_resnet(28, 10).trainable_weights)
    # "36.5 M" in the paper.
    assert round(trainable / 1e6, 1) == 36.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: students.lenet5((20, 20, 1)), "sides of 28 or 32"),
        (lambda: students.resnet(18), "6n \\+ 2"),
        (lambda: students.wide_resnet(20, 1), "6n \\+ 4"),
        (lambda: students.wide_resnet(16, 0), "at least 1"),
    ],
)
def test_bad_sizes(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def branches():
    inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(8, 3, padding="same", name="a")(x)
    y = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    y = layers.BatchNormalization()(y)
    y = layers.SeparableConv2D(8, 3, padding="same", name="sep")(y)
    z = layers.Concatenate()([layers.Add()([x, y]), x])
    z = layers.GlobalAveragePooling2D()(z)
    z = layers.Dense(6, name="hidden")(z)
    return keras.Model(inputs, layers.Activation("softmax")(layers.Dense(3, name="out")(z)))


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0])
def test_scale_width(factor):
    model = branches()
    scaled = students.scale_width(model, factor)
    assert scaled.input_shape == model.input_shape and scaled.output_shape == model.output_shape
    for name in ("a", "sep"):
        assert scaled.get_layer(name).filters == 8 * factor
    assert scaled.get_layer("hidden").units == round(6 * factor)
    assert scaled.get_layer("out").units == 3
    assert scaled(np.zeros((1, 8, 8, 3), "float32")).shape == (1, 3)


def test_scaled_networks_of_every_form():
    half = students.scale_width(students.lenet5(), 0.5)
    assert half.count_params() == students.lenet5_half().count_params()
    sequential = keras.Sequential([keras.Input((4,)), layers.Dense(10), layers.ReLU(), layers.Dense(2)])
    assert students.scale_width(sequential, 0.5).layers[0].units == 5
    inputs = keras.Input((12, 12, 1))
    nested = keras.Model(inputs, small_network(8, name="inner")(inputs))
    scaled = students.scale_width(nested, 0.5)
    assert scaled.get_layer("inner").get_layer("conv1").filters == 4
    assert scaled.output_shape == nested.output_shape


def test_convolutional_classifier_keeps_its_classes():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(6, 3)(inputs)
    x = layers.Conv2D(5, 1, name="classes")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    assert students.scale_width(model, 0.5).output_shape == (None, 5)


def test_scaled_students_start_afresh_but_keep_input_statistics():
    inputs = keras.Input((4, 4, 1))
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (50, 4, 4, 1)))
    x = layers.Dense(2)(layers.Flatten()(layers.Dense(4, name="d")(norm(inputs))))
    model = keras.Model(inputs, x)
    scaled = students.scale_width(model, 1.0)
    np.testing.assert_allclose(scaled.layers[1].mean, norm.mean)
    assert not np.allclose(scaled.get_layer("d").kernel, model.get_layer("d").kernel)


def test_operations_that_are_no_layers_are_kept():
    inputs = keras.Input((6, 6, 1))
    x = layers.Flatten()(inputs / 2.0)
    x = keras.ops.relu(layers.Dense(8, name="hidden")(x))
    scaled = students.scale_width(keras.Model(inputs, layers.Dense(3)(x)), 0.5)
    assert scaled.get_layer("hidden").units == 4 and scaled.output_shape == (None, 3)


def test_input_statistics_of_nested_models_are_kept():
    normalize = layers.Normalization(axis=None)
    normalize.adapt(np.arange(10.0))
    front = keras.Sequential([keras.Input((4,)), normalize])
    model = keras.Sequential([keras.Input((4,)), front, layers.Dense(6), layers.Dense(2)])
    scaled = students.scale_width(model, 0.5)
    np.testing.assert_allclose(scaled.layers[0].predict(np.ones((1, 4)), verbose=0), front(np.ones((1, 4))))


def test_scaled_students_have_dropout_only_if_asked():
    kinds = (layers.Dropout, layers.SpatialDropout2D, layers.AlphaDropout, layers.GaussianDropout)
    x = inputs = keras.Input((8, 8, 2))
    for kind in kinds:
        x = kind(0.5)(layers.Conv2D(4, 3, padding="same")(x))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    for asked, rate in ((False, 0.0), (True, 0.5)):
        scaled = students.scale_width(model, 0.5, dropout=asked)
        rates = [layer.rate for layer in scaled.layers if isinstance(layer, kinds)]
        assert rates == [rate] * len(kinds)
    assert model.layers[2].rate == 0.5


def test_dropout_inside_a_layer_is_dropout_too():
    inside = layers.TimeDistributed(layers.Dropout(0.5))
    model = keras.Sequential([keras.Input((5, 4)), inside, layers.Dense(4), layers.Dense(2)])
    for asked, rate in ((False, 0.0), (True, 0.5)):
        assert students.scale_width(model, 0.5, dropout=asked).layers[0].layer.rate == rate


def test_without_dropout_the_network_is_the_same():
    inner = keras.Sequential([keras.Input((8, 8, 4)), layers.SpatialDropout2D(0.5, name="inner")])
    x = inputs = keras.Input((8, 8, 2))
    x = inner(layers.Conv2D(4, 3, padding="same")(x))
    x = layers.Reshape((8, 32))(layers.AlphaDropout(0.5)(layers.Dropout(0.5)(x)))
    x = layers.TimeDistributed(layers.GaussianDropout(0.5))(x)
    x = layers.MultiHeadAttention(2, 3, dropout=0.5)(x, x)
    x = layers.Bidirectional(layers.LSTM(4, dropout=0.5))(x)
    model = keras.Model(inputs, layers.Dense(3)(x), name="net")
    same = students.without_dropout(model)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype("float32")
    np.testing.assert_allclose(same(x, training=True), model(x, training=False), atol=1e-6)
    assert np.abs(model(x, training=True) - model(x, training=False)).max() > 0.01
    assert same.name == "net" and students.without_dropout(same) is same
    model.trainable = False
    assert not students.without_dropout(model).trainable


def test_models_of_code_keep_their_dropout():
    class Code(keras.Model):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)

    with pytest.raises(ValueError, match=r"must be functional.*Set its rates to 0"):
        students.without_dropout(Code())


def test_what_cannot_be_scaled_is_named():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(ValueError, match="functional or a built Sequential"):
        students.scale_width(Subclassed(), 0.5)
    with pytest.raises(ValueError, match="`factor` must be above 0"):
        students.scale_width(branches(), 0)
    inputs = keras.Input((5, 4))
    recurrent = keras.Model(inputs, layers.Dense(2)(layers.LSTM(4, name="memory")(inputs)))
    with pytest.raises(ValueError, match=r"Layer 'memory' \(LSTM\) has weights"):
        students.scale_width(recurrent, 0.5)
    inputs = keras.Input((8, 8, 3))
    identity = layers.Add(name="add")([layers.Conv2D(3, 1)(inputs), inputs])
    rigid = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(identity)))
    with pytest.raises(ValueError, match="are not compatible at 2 times"):
        students.scale_width(rigid, 2)
    inputs = keras.Input((8, 8, 4))
    grouped = layers.Conv2D(4, 3, groups=2, name="grouped")(inputs)
    grouped = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(grouped)))
    with pytest.raises(ValueError, match="Layer 'grouped' is a grouped convolution"):
        students.scale_width(grouped, 0.5)


@pytest.mark.parametrize(
    "make",
    [
        lambda model: students.scale_width(model, 0.5),
        students.without_dropout,
        lambda model: students.with_noise(model, dropout=0.1),
    ],
)
def test_students_of_a_compiled_model_are_not_compiled(make):
    inputs = keras.Input((6,))
    x = keras.layers.Dropout(0.5)(keras.layers.Dense(8, "relu")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3)(x))
    model.compile("adam", "mse")
    assert not make(model).compiled and model.compiled
