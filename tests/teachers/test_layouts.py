"""What the axes of inputs are: images, images with their channels first, series."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfkd
from generators import image_shape
from tfkd.teachers import TeacherWarning
from tfkd.teachers._layout import decided_layout


def network(shape, front):
    keras.utils.set_random_seed(4)
    inputs = keras.Input(shape)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(front(inputs))), name="net")


def loaded(model, **options):
    """The teacher, and what was said about its layout; it need not be trained here."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        teacher = tfkd.load_teacher(model, **options)
    return teacher, [str(each.message) for each in caught if "layout" in str(each.message)]


def inputs_of(model, n=4):
    return np.random.default_rng(0).random((n, *model.input_shape[1:]), "float32")


def rescaled(shape):
    return keras.Sequential([keras.Input(shape), layers.Rescaling(0.5), layers.BatchNormalization()])


SERIES = {
    "convolution": ((32, 24), layers.Conv1D(4, 3)),
    "LSTM": ((28, 28), layers.LSTM(4)),
    "GRU after normalization": ((20, 12), lambda x: layers.GRU(4)(layers.BatchNormalization()(x))),
    "both ways": ((20, 12), layers.Bidirectional(layers.LSTM(3))),
    "attention": ((20, 12), lambda x: layers.MultiHeadAttention(2, 4)(x, x)),
    "skip connection": ((20, 12), lambda x: x + layers.Conv1D(12, 3, padding="same")(x)),
    "nested": ((20, 12), lambda x: layers.SeparableConv1D(4, 3)(rescaled((20, 12))(x))),
    "noise, then convolution": ((12, 20), lambda x: layers.Conv1D(4, 3)(layers.GaussianNoise(0.1)(x))),
    "values of a time": ((12, 9), lambda x: layers.LSTM(3)(layers.Dense(5)(x))),
    "pooling": ((12, 9), layers.MaxPooling1D()),
    "narrow": ((128, 9), layers.Conv1D(4, 3)),
    "narrow, without a sign": ((20, 3), layers.Flatten()),
}


@pytest.mark.parametrize("name", SERIES)
def test_series(name, tmp_path):
    shape, front = SERIES[name]
    model = network(shape, front)
    teacher, said = loaded(model)
    assert teacher.input_shape == (None, *shape) and not said
    x = inputs_of(model)
    np.testing.assert_allclose(teacher(x, training=False), model(x, training=False), rtol=1e-4, atol=1e-5)
    # Nothing takes them for images further on.
    with pytest.raises(ValueError, match="image generators cannot make"):
        tfkd.export.export_tflite(teacher, None, "int8")


IMAGES = {
    "square": ((28, 28), layers.Flatten()),
    "made a map": ((49, 10), lambda x: layers.Conv2D(2, 3)(layers.Reshape((49, 10, 1))(x))),
    "expanded": ((32, 24), lambda x: layers.Conv2D(2, 3)(ops.expand_dims(x, -1))),
    "expanded after scaling": ((32, 24), lambda x: ops.expand_dims(x / 2, -1)),
    "nested": ((32, 24), lambda x: layers.Reshape((32, 24, 1))(rescaled((32, 24))(x))),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_without_channels(name):
    shape, front = IMAGES[name]
    model = network(shape, front)
    teacher, said = loaded(model)
    assert teacher.input_shape == (None, *shape, 1) and not said
    x = inputs_of(model)
    np.testing.assert_allclose(
        teacher(x[..., None], training=False), model(x, training=False), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shape", [(32, 24), (12, 9), (10, 20)])
def test_two_axes_that_may_be_either_are_asked_about_and_the_answers_work(shape, tmp_path):
    model = network(shape, layers.Flatten())
    teacher, (message,) = loaded(model)
    assert teacher.input_shape == (None, *shape, 1)
    assert "layout='images' (--layout=images)" in message and "layout='series' (--layout=series)" in message
    teacher, said = loaded(model, layout="images")
    assert teacher.input_shape == (None, *shape, 1) and not said
    teacher, said = loaded(model, layout="series")
    assert teacher.input_shape == (None, *shape) and not said
    x = inputs_of(model)
    np.testing.assert_allclose(teacher(x), model(x), rtol=1e-4, atol=1e-5)
    # Files tell it, too.
    teacher.save(tmp_path / "series.keras")
    again, said = loaded(str(tmp_path / "series.keras"))
    assert again.input_shape == (None, *shape) and not said


CHANNELS_FIRST = {
    "Permute": ((3, 32, 32), lambda x: layers.Conv2D(4, 3)(layers.Permute((2, 3, 1))(x))),
    "ops.transpose": ((3, 16, 24), lambda x: layers.Conv2D(4, 3)(ops.transpose(x, (0, 2, 3, 1)))),
    "ops.moveaxis": ((1, 28, 28), lambda x: layers.Conv2D(4, 3)(ops.moveaxis(x, 1, -1))),
    "after scaling": ((3, 20, 20), lambda x: layers.Permute((2, 3, 1))(layers.Rescaling(0.5)(x))),
    "layers": ((3, 16, 16), layers.UpSampling2D(data_format="channels_first")),
}


@pytest.mark.parametrize("name", CHANNELS_FIRST)
def test_channels_first(name):
    (channels, *sides), front = CHANNELS_FIRST[name]
    model = network((channels, *sides), front)
    mean, std = np.linspace(0.1, 0.3, channels).tolist(), np.linspace(1, 2, channels).tolist()
    teacher, said = loaded(model, mean=mean, std=std)
    assert teacher.input_shape == (None, *sides, channels) and not said
    x = np.random.default_rng(0).random((4, *sides, channels), "float32")
    expected = model(np.moveaxis((x - np.float32(mean)) / np.float32(std), -1, 1), training=False)
    np.testing.assert_allclose(teacher(x, training=False), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28)])
def test_channels_that_may_be_first_are_refused_and_the_remedies_work(shape):
    model = network(shape, layers.Flatten())
    with pytest.raises(ValueError, match=r"--layout=channels_first\).*layout='images' \(--layout=images\)"):
        tfkd.load_teacher(model)
    x = np.random.default_rng(0).random((4, *shape[1:], shape[0]), "float32")
    teacher, _ = loaded(model, layout="channels_first")
    np.testing.assert_allclose(teacher(x), model(np.moveaxis(x, -1, 1)), rtol=1e-4, atol=1e-5)
    teacher, _ = loaded(model, layout="images")
    assert teacher.input_shape == model.input_shape
    # Or as one would write it by hand.
    inputs = keras.Input((*shape[1:], shape[0]))
    by_hand = keras.Model(inputs, model(layers.Permute((3, 1, 2))(inputs)))
    teacher, _ = loaded(by_hand)
    np.testing.assert_allclose(teacher(x), by_hand(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "front"),
    [
        ((32, 32, 3), layers.Conv2D(4, 3)),
        ((32, 32, 3), layers.Permute((3, 1, 2))),
        ((3, 32, 32), layers.Conv2D(4, 3)),
        ((49, 10, 1), layers.Permute((2, 1, 3))),
        ((98, 40, 1), layers.Flatten()),
    ],
)
def test_channels_last_need_no_word(shape, front):
    teacher, said = loaded(network(shape, front))
    assert teacher.input_shape == (None, *shape) and not said


@pytest.mark.parametrize("layout", ["channels_first", "series"])
def test_files_that_only_answer(layout, tmp_path):
    shape = {"channels_first": (3, 16, 16), "series": (16, 12)}[layout]
    model = network(shape, layers.Flatten())
    model.export(str(tmp_path / "saved"), verbose=False)
    x = inputs_of(model)
    teacher, _ = loaded(str(tmp_path / "saved"), layout=layout)
    given = np.moveaxis(x, 1, -1) if layout == "channels_first" else x
    assert teacher.input_shape[1:] == given.shape[1:]
    np.testing.assert_allclose(teacher(tf.constant(given)), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "layout", "message"),
    [
        ((28, 28), "channels_first", r"'channels_first' is for inputs \(channels, height, width\)"),
        ((28, 28, 1), "series", r"'series' is for inputs \(time, channels\)"),
        ((7,), "images", r"'images' is for inputs \(height, width\) or"),
        ((28, 28, 1), "NCHW", r"`layout` must be one of 'images', 'channels_first', 'series'"),
    ],
)
def test_layouts_that_do_not_fit(shape, layout, message):
    with pytest.raises(ValueError, match=message):
        tfkd.load_teacher(network(shape, layers.Flatten()), layout=layout)


def test_a_series_goes_all_the_way():
    teacher, _ = loaded(network((16, 12), layers.Conv1D(4, 3, activation="relu")))
    student = keras.models.clone_model(teacher)
    recipe = tfkd.datafree.Procedural(batch_size=8, memory=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distiller = tfkd.DataFreeDistiller(teacher, student, recipe, seed=0)
        distiller.compile()
        distiller.fit(epochs=1, steps_per_epoch=1, verbose=0, callbacks=[tfkd.datafree.Health(images=8)])
    assert distiller.synthesize(3).shape == (3, 16, 12)


def test_shapes_that_tell():
    assert image_shape((28, 28)) == (28, 28, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TeacherWarning)
        assert decided_layout(None, network((6,), layers.Flatten()), "net") == (None, None)
