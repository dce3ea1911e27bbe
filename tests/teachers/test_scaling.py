"""A teacher's scaling, found out by its structure, its batch statistics and its answers."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from generators import probe_images
from tfkd import taps
from tfkd.teachers import Scaling, TeacherWarning, find_scaling, load_teacher
from tfkd.teachers._input_scaling import BYTES, CAFFE, IMAGENET, SYMMETRIC, UNIT, candidates
from tfkd.teachers._scaling import preparation
from tfkd.teachers._scaling_pictures import pictures_for

# These networks have learned nothing but statistics.
pytestmark = pytest.mark.filterwarnings("ignore:.*on synthetic images it")

SHAPE = (24, 24, 3)
ALL = candidates(3)


def named(scaling):
    return scaling.name


def scaled(pictures, scaling, shape=SHAPE):
    return preparation(shape=shape, **scaling.options).of_arrays(pictures)


def normalized(scaling, shape=SHAPE):
    """A network with the batch statistics of pictures under a scaling."""
    inputs = keras.Input(shape)
    x = layers.BatchNormalization(name="first")(layers.Conv2D(8, 3, use_bias=False)(inputs))
    x = layers.Conv2D(8, 3, 2, use_bias=False)(layers.ReLU()(x))
    x = layers.ReLU()(layers.BatchNormalization(name="second")(x))
    model = keras.Model(inputs, layers.Dense(5)(layers.GlobalAveragePooling2D()(x)), name="net")
    # Other pictures than it is judged by.
    pictures = scaled(np.concatenate([*pictures_for(shape).values()])[::2, ::-1], scaling, shape)
    for name in ("first", "second"):
        with taps.record(model, [f"{name}:input"]) as seen:
            model(pictures)
        values, layer = np.asarray(seen[f"{name}:input"]), model.get_layer(name)
        layer.moving_mean.assign(values.mean((0, 1, 2)))
        layer.moving_variance.assign(values.var((0, 1, 2)))
    return model


class Levels(layers.Layer):
    """Logits of how near an image's mean is to each of ten levels."""

    def __init__(self, low, high):
        super().__init__()
        self.levels = np.linspace(low, high, 10).astype("float32")

    def call(self, x):
        mean = keras.ops.mean(x, axis=(1, 2, 3))[:, None]
        return -(((mean - self.levels) * 9 / (self.levels[-1] - self.levels[0])) ** 2)


def of_levels(low, high):
    """A classifier of brightness, without batch normalization."""
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, Levels(low, high)(inputs), name="levels")


@pytest.mark.parametrize("scaling", ALL, ids=named)
def test_batch_statistics_tell(scaling):
    found = find_scaling(normalized(scaling))
    assert found.options == scaling.options and found.sure
    assert "batch statistics" in found.evidence


@pytest.mark.parametrize("scaling", [UNIT, SYMMETRIC, BYTES], ids=named)
def test_drawings_tell_of_grey_networks(scaling):
    assert find_scaling(normalized(scaling, (24, 24, 1))).options == scaling.options


@pytest.mark.parametrize(
    ("scaling", "ends"), [(UNIT, (0.2, 0.8)), (BYTES, (51, 204))], ids=["unit", "bytes"]
)
def test_answers_tell_where_there_are_no_statistics(scaling, ends):
    found = find_scaling(of_levels(*ends))
    assert found.options == scaling.options and found.sure
    assert "classes" in found.evidence


def test_a_network_of_one_answer_tells_nothing():
    assert not find_scaling(of_levels(1e6, 2e6)).sure


def test_an_untrained_network_tells_nothing():
    model = normalized(UNIT)
    for name in ("first", "second"):
        layer = model.get_layer(name)
        layer.moving_mean.assign(np.zeros(8))
        layer.moving_variance.assign(np.ones(8))
    assert "batch statistics" not in find_scaling(model).evidence


FRONTS = {
    "Rescaling(1/255)": (layers.Rescaling(1 / 255), BYTES),
    "Rescaling(127.5, 127.5)": (layers.Rescaling(127.5, 127.5), SYMMETRIC),
    "Normalization": (layers.Normalization(mean=[0.45] * 3, variance=[0.05] * 3), UNIT),
}


@pytest.mark.parametrize("name", FRONTS)
def test_own_operations_tell(name):
    front, scaling = FRONTS[name]
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3)(front(inputs))
    found = find_scaling(keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x))))
    assert found.options == scaling.options and found.sure


def test_families_are_known_inside_of_models():
    inner = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    body = keras.Sequential([keras.Input((32, 32, 3)), inner, layers.GlobalAveragePooling2D()])
    model = keras.Sequential([keras.Input((32, 32, 3)), body, keras.Sequential([layers.Dense(4)])])
    model.build((None, 32, 32, 3))
    found = find_scaling(model)
    assert found.options == SYMMETRIC.options and found.sure and "MobileNetV2" in found.evidence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "scaling"),
    [
        ("MobileNet", SYMMETRIC),
        ("MobileNetV3Small", BYTES),
        ("EfficientNetB0", BYTES),
        ("ResNet50", CAFFE),
        ("ResNet50V2", SYMMETRIC),
        ("DenseNet121", IMAGENET),
        ("VGG16", CAFFE),
        ("Xception", SYMMETRIC),
        ("InceptionV3", SYMMETRIC),
    ],
)
def test_families_of_keras(name, scaling):
    build = getattr(keras.applications, name)
    model = build(input_shape=(96, 96, 3), include_top=False, weights=None, pooling="avg")
    assert find_scaling(model).options == scaling.options


def test_integers_of_a_file_tell(tmp_path):
    path = tmp_path / "net.tflite"
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    tfkd.export.export_tflite(model, path, "int8", interface="int8")
    found = find_scaling(path)
    assert found.options == UNIT.options and found.sure and "integer inputs" in found.evidence


def test_a_teacher_has_the_scaling_that_was_found(capsys):
    model = normalized(IMAGENET)
    teacher = load_teacher(model, input_range="auto")
    assert "mean=(0.485" in capsys.readouterr().out
    x = probe_images(model, 4)
    np.testing.assert_allclose(teacher(x), model(scaled(x, IMAGENET)), rtol=1e-4, atol=1e-4)


def test_what_is_not_certain_is_said_with_the_remedy():
    with pytest.warns(TeacherWarning, match=r"not certain.*input_range=\(0, 1\) \(--input_range=0,1\)"):
        load_teacher(of_levels(1e6, 2e6), input_range="auto", task="classification")


def test_vectors_show_nothing():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    found = find_scaling(model)
    assert found.options == UNIT.options and not found.sure


def test_blue_first(tmp_path):
    model = normalized(CAFFE)
    teacher = load_teacher(model, **CAFFE.options)
    x = probe_images(model, 4)
    expected = model(scaled(x, CAFFE))
    by_hand = 255 * x[..., ::-1] - np.array([103.939, 116.779, 123.68])
    np.testing.assert_allclose(expected, model(by_hand.astype("float32")), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(teacher(x), expected, rtol=1e-4, atol=1e-4)
    path = tmp_path / "teacher.keras"
    teacher.save(path)
    again = load_teacher(path, input_range=(0, 1))
    np.testing.assert_allclose(again(x), expected, rtol=1e-4, atol=1e-4)
    # What is made of a teacher goes through the turned channels, too.
    assert tfkd.students.scale_width(teacher, 0.5)(x).shape == (4, 5)
    np.testing.assert_allclose(tfkd.compression.to_tf_keras(teacher)(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_range": "automatic"}, "two numbers, or 'auto'"),
        ({"input_range": "auto", "mean": 0.5}, "Leave these out"),
        ({"input_range": "auto", "channel_order": "bgr"}, "Leave these out"),
        ({"channel_order": "brg"}, "must be 'rgb' or 'bgr'"),
    ],
)
def test_what_cannot_be_meant(options, message):
    with pytest.raises(ValueError, match=message):
        load_teacher(of_levels(0, 1), **options)


def test_blue_first_takes_three_channels():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ValueError, match="three channels"):
        load_teacher(model, channel_order="bgr")


def test_texts_have_no_scaling():
    inputs = keras.Input((4,), name="token_ids", dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(9, 4)(inputs))
    with pytest.raises(ValueError, match="nothing to scale"):
        find_scaling(keras.Model({"token_ids": inputs}, layers.Dense(2)(x)))


def test_a_scaling_in_words_and_flags():
    assert BYTES.words == "input_range=(0, 255)" and BYTES.flags == "--input_range=0,255"
    assert CAFFE.flags == "--input_range=0,255 --input_mean=103.939,116.779,123.68 --channel_order=bgr"
    assert isinstance(CAFFE, Scaling)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_teacher(of_levels(0, 1), **eval(f"dict({UNIT.words})"))
