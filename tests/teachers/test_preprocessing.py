"""Networks that scale their inputs themselves, a way of writing it in each line."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from generators import probe_images
from tfkd.teachers import TeacherWarning

MEANS = np.array([123.7, 116.8, 103.9], "float32")
SHAPE = (16, 16, 3)


def normalization(mean, deviation):
    return layers.Normalization(mean=[mean] * 3, variance=[deviation**2] * 3)


def network(front, dtype="float32"):
    """A trained-looking classifier of whatever `front` makes of images."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input(SHAPE, dtype=dtype)
    x = layers.Conv2D(8, 3, activation="relu")(front(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)), name="net")


BYTES = {
    "Rescaling": layers.Rescaling(1 / 255),
    "Rescaling to -1 and 1": layers.Rescaling(1 / 127.5, offset=-1),
    "Normalization": normalization(118.0, 61.0),
    "x / 255": lambda x: x / 255,
    "x / 127.5 - 1": lambda x: x / 127.5 - 1,
    "(x - 127.5) / 127.5": lambda x: (x - 127.5) / 127.5,
    "0.0039 * x": lambda x: 0.0039 * x,
    "per channel": lambda x: (x - MEANS) / np.array([58.4, 57.1, 57.4], "float32"),
    "channels reversed, centred": lambda x: x[..., ::-1] - MEANS[::-1],
    "Rescaling, then Normalization": lambda x: normalization(0.5, 0.25)(layers.Rescaling(1 / 255)(x)),
    "after augmentation, nested": lambda x: keras.Sequential(
        [keras.Input(SHAPE), layers.RandomFlip(), layers.Rescaling(1 / 255)]
    )(x),
    "after resizing and padding": lambda x: layers.ZeroPadding2D()(layers.Resizing(8, 8)(x) / 255),
    "cast": lambda x: ops.cast(x, "float32") / 255,
    "a named function": layers.Lambda(keras.applications.mobilenet_v2.preprocess_input),
    "a named function that centres": layers.Lambda(keras.applications.resnet50.preprocess_input),
}


def loaded(model, **options):
    """The teacher, and what was said about its scale."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        teacher = tfkd.load_teacher(model, task="classification", **options)
    return teacher, [str(each.message) for each in caught if "scales its inputs" in str(each.message)]


@pytest.mark.parametrize("name", BYTES)
def test_networks_of_0_to_255(name):
    model = network(BYTES[name])
    _, (message,) = loaded(model)
    assert "input_range=(0, 255) (--input_range=0,255)" in message
    teacher, said = loaded(model, input_range=(0, 255))
    assert not said
    x = probe_images(model, 8)
    expected = model(255 * x, training=False)
    np.testing.assert_allclose(teacher(x, training=False), expected, rtol=1e-4, atol=1e-4)
    # Who says so has images in [0, 1].
    teacher, said = loaded(model, input_range=(0, 1))
    assert not said
    expected = model(x, training=False)
    np.testing.assert_allclose(teacher(x, training=False), expected, rtol=1e-4, atol=1e-4)


def test_integers_are_of_0_to_255():
    model = network(lambda x: layers.Rescaling(1 / 255)(x), dtype="uint8")
    _, (message,) = loaded(model)
    assert "--input_range=0,255" in message


@pytest.mark.parametrize("front", [lambda x: (x + 1) / 2, layers.Rescaling(127.5, 127.5)])
def test_networks_of_minus_1_to_1(front):
    _, (message,) = loaded(network(front))
    assert "input_range=(-1, 1) (--input_range=-1,1)" in message
    teacher, said = loaded(network(front), input_range=(-1, 1))
    x = probe_images(teacher, 8)
    np.testing.assert_allclose(teacher(x), network(front)(2 * x - 1), rtol=1e-4, atol=1e-4)
    assert not said


UNIT = {
    "nothing": lambda x: x,
    "2x - 1": lambda x: 2 * x - 1,
    "Normalization": normalization(0.45, 0.22),
    "to 0 and 255, centred": lambda x: (255 * x)[..., ::-1] - MEANS,
    "the image's own mean": lambda x: x - ops.mean(x, axis=(1, 2, 3), keepdims=True),
    "pooling": layers.MaxPooling2D(),
    "a skip around everything": lambda x: layers.Concatenate()([x, x / 255]),
    "a power": lambda x: x**2 / 255,
}


@pytest.mark.parametrize("name", UNIT)
def test_networks_of_0_to_1_need_no_word(name):
    assert not loaded(network(UNIT[name]))[1]


def test_a_scale_that_was_said_needs_no_word():
    model = network(layers.Rescaling(1 / 255))
    assert not loaded(model, std=1 / 255)[1]
    assert not loaded(model, mean=[0.1, 0.2, 0.3])[1]


def test_of_other_inputs_nobody_knows_the_scale():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, layers.Dense(3)(layers.Rescaling(1 / 255)(inputs)))
    with warnings.catch_warnings():
        warnings.simplefilter("error", TeacherWarning)
        tfkd.load_teacher(model)
