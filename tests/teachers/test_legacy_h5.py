import json
import os
import pathlib
import sys
import warnings

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tfkd.teachers import TeacherWarning
from tfkd.teachers._older_files import read_h5

SHARED = pathlib.Path(__file__).parents[3] / "shared"
IMAGES = np.random.default_rng(0).uniform(size=(5, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def old_keras():
    return pytest.importorskip("tf_keras")


@pytest.fixture
def plain(old_keras):
    layers = old_keras.layers
    return old_keras.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu", input_shape=(8, 8, 3)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(3, activation="softmax"),
        ]
    )


def scrambled(model):
    """The model with weights that no initializer gives, variances above 0."""
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 0.5, w.shape) for w in model.get_weights()])
    return model


def written(model, path, edit=lambda config: config):
    """An `.h5` file whose configuration is edited to what an older Keras wrote."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file")
        model.save(path, include_optimizer=False)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(edit(json.loads(file.attrs["model_config"])))
    return str(path)


def assert_rebuilt(model, path):
    with pytest.raises(Exception):  # noqa: B017
        keras.models.load_model(path, compile=False)
    ours = read_h5(path)
    assert isinstance(ours, keras.Model)
    for expected, out in zip(tf.nest.flatten(model(IMAGES)), tf.nest.flatten(ours(IMAGES)), strict=True):
        np.testing.assert_allclose(out, expected, atol=1e-5)
    return ours


def bare_list(config):
    layers = [layer for layer in config["config"]["layers"] if layer["class_name"] != "InputLayer"]
    return {"class_name": "Sequential", "config": layers}


def without_input_layer(config):
    config["config"]["layers"] = bare_list(config)["config"]
    return config


def initializers_with_dtype(config):
    for layer in config["config"]["layers"]:
        for key, value in layer["config"].items():
            if key.endswith("_initializer"):
                value["config"]["dtype"] = "float32"
    return config


@pytest.mark.parametrize("edit", [bare_list, without_input_layer, initializers_with_dtype])
def test_older_forms_of_a_sequential_model(plain, tmp_path, edit):
    ours = assert_rebuilt(scrambled(plain), written(plain, tmp_path / "old.h5", edit))
    assert ours.count_params() == plain.count_params() and ours.input_shape == (None, 8, 8, 3)
    assert [layer.name for layer in ours.layers] == [layer.name for layer in plain.layers]


def test_functional_model_with_what_keras_3_does_not_take(old_keras, tmp_path):
    """Names with a slash, options that are gone, nested models, one of them called twice."""
    layers = old_keras.layers
    inputs = x = layers.Input((8, 8, 3))
    x = layers.DepthwiseConv2D(3, padding="same", name="block/conv")(x)
    x = layers.BatchNormalization(name="block/norm")(x)
    twice = layers.Input((8, 8, 3))
    twice = old_keras.Model(twice, layers.Conv2D(3, 3, padding="same")(twice), name="in/ner")
    x = twice(layers.LeakyReLU(0.1)(twice(x)))
    x = old_keras.Sequential([layers.SeparableConv2D(5, 3), layers.PReLU()])(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = old_keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(2)(x)])
    ours = assert_rebuilt(scrambled(model), written(model, tmp_path / "old.h5"))
    assert ours.get_layer("block_conv") is not None


def test_nested_model_as_an_output_and_adapted_statistics(old_keras, tmp_path):
    layers = old_keras.layers
    inputs = layers.Input((8, 8, 3))
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(0).normal(3, 2, (20, 8, 8, 3)))
    head = old_keras.Sequential([layers.Flatten(), layers.Dense(3)])
    model = old_keras.Model(inputs, head(layers.DepthwiseConv2D(3)(norm(inputs))))
    assert_rebuilt(model, written(model, tmp_path / "old.h5"))


def test_mixed_precision_stays(old_keras, tmp_path):
    layers = old_keras.layers
    half = old_keras.mixed_precision.Policy("mixed_float16")
    model = old_keras.Sequential(
        [layers.Conv2D(4, 3, dtype=half, input_shape=(8, 8, 3)), layers.Flatten(), layers.Dense(3)]
    )
    ours = read_h5(written(model, tmp_path / "old.h5"))
    assert ours.layers[0].compute_dtype == "float16"


def test_load_teacher_takes_the_softmax_off(plain, tmp_path):
    path = written(scrambled(plain), tmp_path / "old.h5", bare_list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        teacher = tfkd.load_teacher(path, input_range=(0, 255))
    np.testing.assert_allclose(keras.ops.softmax(teacher(IMAGES)), plain(255 * IMAGES), atol=1e-5)


def test_files_of_keras_3_need_no_other_keras(trained, tmp_path, monkeypatch):
    trained.save(tmp_path / "new.h5")
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    teacher = tfkd.load_teacher(tmp_path / "new.h5")
    assert teacher.input_shape == trained.input_shape


def test_reading_changes_nothing_for_the_process(plain, tmp_path):
    path = written(plain, tmp_path / "old.h5", bare_list)
    environment, keras_of_tensorflow = dict(os.environ), tf.keras.__version__
    read_h5(path)
    assert dict(os.environ) == environment and tf.keras.__version__ == keras_of_tensorflow


def test_what_keras_3_does_not_have_is_named(old_keras, tmp_path):
    layers = old_keras.layers
    inputs = layers.Input((8, 8, 3))
    x = layers.LocallyConnected2D(2, 3, name="local")(inputs)
    model = old_keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    path = written(model, tmp_path / "old.h5")
    with pytest.raises(ValueError, match=r"'local' \(LocallyConnected2D\).*pass the model.*black boxes"):
        read_h5(path)


def test_lambda_layers_do_not_run(old_keras, tmp_path):
    layers = old_keras.layers
    model = old_keras.Sequential([layers.Input((8, 8, 3)), layers.Lambda(lambda x: x), layers.Flatten()])
    path = written(model, tmp_path / "old.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"Lambda"', r'"\u004cambda"')
    with pytest.raises(ValueError, match="runs code that is stored in the file"):
        read_h5(path)


def test_other_outputs_than_before_are_refused(plain, tmp_path, monkeypatch):
    path = written(plain, tmp_path / "old.h5", bare_list)
    monkeypatch.setattr("tfkd.compression._from_tf_keras._copy_by_name", lambda old, new: None)
    with pytest.raises(ValueError, match="does not compute the same as in tf_keras"):
        read_h5(path)


def test_weights_without_a_model(plain, tmp_path):
    plain.save_weights(tmp_path / "w.h5")
    with pytest.raises(ValueError, match=r"holds weights only.*load_weights"):
        read_h5(str(tmp_path / "w.h5"))


@pytest.mark.skipif(
    not SHARED.exists(), reason="needs a real old file, shared/teachers/cnn_mnist_legacy.h5"
)
def test_a_real_old_file_equals_its_modern_copy():
    old = tfkd.load_teacher(SHARED / "teachers/cnn_mnist_legacy.h5")
    new = tfkd.load_teacher(SHARED / "teachers/cnn_mnist.keras")
    assert old.count_params() == 312_202
    for expected, ours in zip(new.get_weights(), old.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, expected)
    with np.load(SHARED / "data/mnist.npz") as data:
        x, y = data["x_test"][:500, ..., None] / np.float32(255), data["y_test"][:500]
    assert np.mean(old.predict(x, verbose=0).argmax(-1) == y) > 0.99
