"""Models of older Keras versions and with Lambda layers, and what is said of those of tf_keras."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests.conftest import SHAPE, blobs, small_network
from tfkd.teachers import TeacherWarning

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(5, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def old_keras():
    return pytest.importorskip("tf_keras")


def load(source, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        return tfkd.load_teacher(source, **options)


def preprocessed(old_keras, preprocess):
    inputs = old_keras.layers.Input((8, 8, 3))
    x = old_keras.layers.Flatten()(preprocess(inputs))
    return old_keras.Model(inputs, old_keras.layers.Dense(3)(x))


PREPROCESSING = {
    "ResNet": lambda keras, x: keras.applications.resnet50.preprocess_input(x),
    "MobileNet": lambda keras, x: keras.applications.mobilenet_v2.preprocess_input(x),
    "DenseNet": lambda keras, x: keras.applications.densenet.preprocess_input(x),
    "every second": lambda keras, x: x[:, 1:7, ::2],
    "a row": lambda keras, x: x[:, -1],
    "a new axis": lambda keras, x: x[:, tf.newaxis],
    "channels one by one": lambda keras, x: keras.layers.Concatenate()([x[..., 2:], x[..., :1]]),
    "sliced twice": lambda keras, x: x[..., ::-1][:, ::-1],
    "cast": lambda keras, x: tf.cast(x, "float16"),
    "functions": lambda keras, x: tf.nn.relu6(1.0 - x) + tf.sqrt(tf.abs(x)) ** 2 + tf.maximum(x, 3.0),
}


@pytest.mark.parametrize("ending", [".h5", ".keras"])
@pytest.mark.parametrize("name", PREPROCESSING)
def test_preprocessing_of_old_files(old_keras, tmp_path, name, ending):
    model = preprocessed(old_keras, lambda x: PREPROCESSING[name](old_keras, x))
    path = tmp_path / f"old{ending}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            model.save(path)
    except TypeError:
        pytest.skip("tf_keras writes no ... into .keras files")
    teacher = load(path, input_range=(0, 255))
    np.testing.assert_allclose(teacher(IMAGES), model(255 * IMAGES), rtol=1e-4, atol=1e-3)


def test_keras_files_of_keras_2(old_keras, tmp_path):
    old = old_keras.layers
    inputs = x = old.Input((8, 8, 3))
    x = old.BatchNormalization(name="block/norm")(old.Conv2D(4, 3, activation="relu")(x))
    x = old_keras.Sequential([old.SeparableConv2D(3, 3), old.Flatten()])(x)
    model = old_keras.Model(inputs, old.Dense(3, activation="softmax")(x))
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(IMAGES, np.arange(5) % 3, verbose=0)
    path = tmp_path / "old.keras"
    model.save(path)
    path.chmod(0o444)
    teacher = load(path)
    np.testing.assert_allclose(keras.ops.softmax(teacher(IMAGES)), model(IMAGES), atol=1e-5)


def test_operations_without_a_counterpart_are_named(old_keras, tmp_path):
    model = preprocessed(old_keras, lambda x: tf.image.resize(x, (4, 4)))
    model.save(tmp_path / "old.keras")
    with pytest.raises(ValueError, match=r"'tf.image.resize' \(TFOpLambda\).*black boxes"):
        load(tmp_path / "old.keras")


def with_lambda(function, **options):
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, small_network(4, "softmax")(layers.Lambda(function, **options)(inputs)))


LAMBDAS = {
    "lambda": with_lambda(lambda x: x / 127.5 - 1),
    "lambda that needs its module": with_lambda(lambda x: np.float32(2) * x),
    "named": with_lambda(keras.activations.tanh),
}


@pytest.mark.parametrize("name", LAMBDAS)
def test_models_with_lambda_layers_that_are_in_memory(name):
    model, (x, _) = LAMBDAS[name], blobs(8)
    np.testing.assert_allclose(keras.ops.softmax(load(model)(x)), model(x), rtol=1e-4, atol=1e-6)
    assert tfkd.students.scale_width(model, 0.5).count_params() < model.count_params()
    np.testing.assert_allclose(
        load(tfkd.students.scale_width(model, 1.0, inherit=True))(x), load(model)(x), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_the_advice_about_lambda_layers(tmp_path, ending):
    model, (x, _) = LAMBDAS["lambda"], blobs(8)
    path = tmp_path / f"lambda{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model.save(path)
    with pytest.raises(ValueError, match=r"trust_files=True.*load_model\(path, safe_mode=False"):
        load(path)
    for teacher in (
        load(keras.models.load_model(path, safe_mode=False)),
        load(path, trust_files=True),
    ):
        np.testing.assert_allclose(keras.ops.softmax(teacher(x)), model(x), rtol=1e-4, atol=1e-6)


def test_a_lambda_at_the_end_is_known_by_its_answers():
    inputs = keras.Input(SHAPE)
    outputs = layers.Lambda(lambda x: keras.ops.softmax(x))(small_network(4)(inputs))
    model, (x, _) = keras.Model(inputs, outputs), blobs(8)
    np.testing.assert_allclose(keras.ops.softmax(load(model)(x)), model(x), rtol=1e-4, atol=1e-6)


class Stubborn(layers.Layer):
    """It can be made again by nobody."""

    def call(self, x):
        return 2 * x

    def get_config(self):
        raise RuntimeError("no configuration")


def test_layers_that_cannot_be_made_again_are_used_as_they_are():
    inputs = keras.Input(SHAPE)
    model, (x, _) = keras.Model(inputs, small_network(4, "softmax")(Stubborn()(inputs))), blobs(8)
    np.testing.assert_allclose(keras.ops.softmax(load(model)(x)), model(x), rtol=1e-4, atol=1e-6)


TAKES_A_MODEL = {
    "load_teacher": lambda old, new: tfkd.load_teacher(old),
    "teacher": lambda old, new: tfkd.Distiller(old, new, tfkd.losses.SoftTargets()),
    "student": lambda old, new: tfkd.Distiller(new, old, tfkd.losses.SoftTargets()),
    "data-free teacher": lambda old, new: tfkd.DataFreeDistiller(old, new, tfkd.datafree.Procedural()),
    "data-free student": lambda old, new: tfkd.DataFreeDistiller(new, old, tfkd.datafree.Procedural()),
    "scale_width": lambda old, new: tfkd.students.scale_width(old, 0.5),
    "scale_depth": lambda old, new: tfkd.students.scale_depth(old, 0.5),
    "without_dropout": lambda old, new: tfkd.students.without_dropout(old),
    "from_sparsity": lambda old, new: tfkd.students.from_sparsity(old),
    "kept_channels": tfkd.students.kept_channels,
    "student_named": lambda old, new: tfkd.students.student_named("0.5x", old),
    "prune": lambda old, new: tfkd.compression.prune(old, 0.5),
    "cluster": lambda old, new: tfkd.compression.cluster(old, 4),
    "quantize_aware": lambda old, new: tfkd.compression.quantize_aware(old, images=IMAGES),
    "magnitude_masks": lambda old, new: tfkd.compression.magnitude_masks(old, 0.5),
    "sparsity": lambda old, new: tfkd.compression.sparsity(old),
    "to_tf_keras": lambda old, new: tfkd.compression.to_tf_keras(old),
    "export_tflite": lambda old, new: tfkd.export.export_tflite(old, None, "float32"),
    "distil": lambda old, new: tfkd.pipelines.distil(old),
    "distil students": lambda old, new: tfkd.pipelines.distil(new, students=old),
    "compress": lambda old, new: tfkd.pipelines.compress(old, prune=0.5),
}


@pytest.mark.parametrize("name", TAKES_A_MODEL)
def test_models_of_tf_keras_are_named_as_such(old_keras, name):
    old = preprocessed(old_keras, lambda x: x)
    new = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises((TypeError, ValueError), match=r"of tf_keras.*compression.from_tf_keras\(model\)"):
        TAKES_A_MODEL[name](old, new)
