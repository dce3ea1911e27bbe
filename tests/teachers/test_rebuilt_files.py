"""SavedModel folders and TFLite files that become networks with layers, and those that only answer."""

import pathlib
import re
import shutil
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.core.protobuf import saved_model_pb2

import tfkd
from tfkd.searching._timing import file_of
from tfkd.teachers import TeacherWarning, _from_tflite
from tfkd.teachers._formats import read

SHAPE = (8, 8, 3)
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(5, *SHAPE)).astype("float32")
SHARED = pathlib.Path(__file__).parents[2] / "../shared/teachers/mlperf_tiny"


def load(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TeacherWarning)
        return tfkd.load_teacher(path, **options)


def randomized(model):
    """Every weight, those of batch normalizations too, is something else than at the start."""
    rng = np.random.default_rng(1)
    model.set_weights(
        [
            rng.uniform(0.1, 0.9, size=weight.shape) - 0.3 * (len(weight.shape) > 1)
            for weight in model.get_weights()
        ]
    )
    return model


@pytest.fixture(scope="module")
def old_keras():
    return pytest.importorskip("tf_keras")


def old_network(old_keras):
    old = old_keras.layers
    inputs = old.Input(SHAPE)
    x = old.BatchNormalization()(old.Conv2D(2, 3, activation="relu")(inputs))
    x = old_keras.Sequential([old.Flatten(), old.Dense(4)])(x)
    return randomized(old_keras.Model(inputs, old.Dense(3, activation="softmax")(x)))


@pytest.fixture(scope="module")
def folder(old_keras, tmp_path_factory):
    """A folder that Keras 2 wrote, and what its model makes of the images."""
    model = old_network(old_keras)
    path = tmp_path_factory.mktemp("saved") / "old"
    model.save(path, save_format="tf")
    return path, model(IMAGES).numpy()


def test_folders_of_keras_2_are_networks_again(folder):
    path, expected = folder
    teacher = load(path)
    assert not isinstance(teacher, tfkd.BlackBoxTeacher)
    np.testing.assert_allclose(keras.ops.softmax(teacher(IMAGES)), expected, atol=1e-6)
    kinds = [type(layer).__name__ for layer in teacher.layers]
    assert {"Conv2D", "BatchNormalization", "Dense"} <= {*kinds}, kinds


def changed(folder, target, change):
    """A copy of a folder with another description of its model, and where that stands."""
    from tf_keras.protobuf import saved_metadata_pb2

    shutil.copytree(folder, target)
    file = target / "keras_metadata.pb"
    metadata = saved_metadata_pb2.SavedMetadata.FromString(file.read_bytes())
    metadata.nodes[0].metadata = change(metadata.nodes[0].metadata)
    file.write_bytes(metadata.SerializeToString())
    return target, metadata


def test_folders_of_tensorflow_before_2_5(folder, tmp_path):
    """They say of their layers in the graph."""
    older, metadata = changed(folder[0], tmp_path / "older", str)
    (older / "keras_metadata.pb").unlink()
    file = older / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for node in metadata.nodes:
        model.meta_graphs[0].object_graph_def.nodes[node.node_id].user_object.metadata = node.metadata
    file.write_bytes(model.SerializeToString())
    np.testing.assert_allclose(read(str(older))(IMAGES), folder[1], atol=1e-6)


REASONS = {
    "runs code that is stored in the file": lambda text: text.replace('"Conv2D"', '"Lambda"'),
    "compute something different": lambda text: text.replace('"relu"', '"tanh"'),
    "no Keras 2 model": lambda text: "",
    "without a config of its layers": lambda text: '{"class_name": "Mine"}',
}


@pytest.mark.parametrize("reason", REASONS)
def test_folders_that_stay_black_boxes_say_why(folder, tmp_path, capsys, reason):
    path, _ = changed(folder[0], tmp_path / "black", REASONS[reason])
    file = read(str(path))
    assert not isinstance(file, keras.Model) and reason in file.reason, file.reason
    assert str(tmp_path) not in file.reason
    np.testing.assert_allclose(file(IMAGES)[0], folder[1], atol=1e-6)
    if reason == "compute something different":
        assert load(path).black_box
        assert (
            f"'black' is a black box, without layers and gradients: {file.reason}"
            in capsys.readouterr().out
        )


def network():
    """Every operator that is rebuilt, in some form."""
    x = inputs = keras.Input(SHAPE)
    x = layers.Rescaling(2.0, offset=-1.0)(x)
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(x)
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="valid")(x)))
    x = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1, use_bias=False)(x)
    y = layers.Conv2D(8, 1, activation="relu", dilation_rate=1)(x)
    x = layers.Add()([x, y])
    x = layers.Concatenate()(
        [layers.MaxPooling2D(2, 1, "same")(x), layers.AveragePooling2D(2, 1, "same")(x)]
    )
    x = layers.LeakyReLU(0.1)(layers.Conv2D(6, 3, padding="same", groups=2)(x))
    gate = layers.Dense(6, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, layers.Activation("tanh")(layers.Conv2D(6, 1)(x))])
    x = layers.Concatenate()([layers.Flatten()(x), layers.Flatten()(gate)])
    x = layers.Dense(5, activation="elu")(x)
    return randomized(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))


def written(model, path, kind="float32"):
    calibration = IMAGES if kind == "int8" else None
    path.write_bytes(file_of(model, kind, calibration))
    return path


def test_tflite_files_are_networks_again(tmp_path):
    model = network()
    path = written(model, tmp_path / "net.tflite")
    found = read(str(path))
    assert isinstance(found, keras.Model), found.reason
    assert found.name == "net"
    np.testing.assert_allclose(found(IMAGES), model(IMAGES), atol=1e-5)
    assert [layer.name for layer in read(str(path)).layers] == [layer.name for layer in found.layers]


@pytest.mark.parametrize("kind", ["float16", "dynamic"])
def test_weights_of_fewer_bits_become_floats(tmp_path, kind):
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(layers.Conv2D(48, 3, activation="relu")(inputs))
    model = randomized(keras.Model(inputs, layers.Dense(3)(x)))
    found = read(str(written(model, tmp_path / "net.tflite", kind)))
    assert isinstance(found, keras.Model), found.reason
    kernel = model.layers[1].kernel.numpy()
    step = 2.0**-10 if kind == "float16" else np.abs(kernel).max() / 127
    assert 0 < np.abs(found.layers[1].kernel - kernel).max() <= step


def residual():
    x = inputs = keras.Input(SHAPE)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x)))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(x)))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(y))
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Add()([x, y])))
    return randomized(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))


def test_a_student_inherits_from_a_tflite_file_with_residual_blocks(tmp_path):
    teacher = load(written(residual(), tmp_path / "residual.tflite"))
    assert not [layer for layer in teacher.layers if isinstance(layer, layers.BatchNormalization)]
    whole = tfkd.students.scale_width(teacher, 1.0, inherit=True)
    np.testing.assert_allclose(whole(IMAGES), teacher(IMAGES), rtol=1e-4, atol=1e-4)
    student = tfkd.students.scale_width(teacher, 0.5, inherit=True)
    filters = [layer.filters for layer in student.layers if isinstance(layer, layers.Conv2D)]
    assert filters == [4, 4, 4] and any(isinstance(layer, layers.Add) for layer in student.layers)
    first = next(layer for layer in student.layers if isinstance(layer, layers.Conv2D))
    theirs = next(layer for layer in teacher.layers if isinstance(layer, layers.Conv2D))
    kept = [np.abs(theirs.kernel - first.kernel[..., i : i + 1]).max((0, 1, 2)).min() for i in range(4)]
    assert max(kept) < 1e-6


def test_tflite_files_that_stay_black_boxes_say_why(tmp_path, monkeypatch, capsys):
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(layers.UpSampling2D(2)(layers.MaxPooling2D()(inputs)))
    model = randomized(keras.Model(inputs, layers.Dense(3, activation="softmax")(x)))
    path = written(model, tmp_path / "up.tflite")
    file = read(str(path))
    assert re.fullmatch("operator [A-Z_]+ has no counterpart here", file.reason), file.reason
    assert load(path).black_box and file.reason in capsys.readouterr().out
    integers = read(str(written(residual(), tmp_path / "int8.tflite", "int8")))
    assert not isinstance(integers, keras.Model) and integers.reason
    path = written(residual(), tmp_path / "residual.tflite")
    wrong = _from_tflite._merged(layers.Subtract, None, None)
    monkeypatch.setitem(_from_tflite._COUNTERPARTS, "ADD", wrong)
    assert "its rebuilt layers compute something different" in read(str(path)).reason


def test_constants_between_layers_are_thinned_and_those_of_inputs_are_a_scaling(tmp_path):
    """A batch normalization behind an Add is not a part of a convolution."""
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling([2.0, 3.0, 4.0], [-1.0, 0.0, 1.0])(inputs)
    y = x = layers.Conv2D(4, 3, padding="same")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu")(y)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Add()([x, y])))
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    model = randomized(keras.Model(inputs, x))
    found = read(str(written(model, tmp_path / "moved.tflite")))
    kinds = [type(layer).__name__ for layer in found.layers]
    assert "Rescaling" in kinds and kinds.count("DepthwiseConv2D") == 2, kinds
    np.testing.assert_allclose(found(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-4)
    student = tfkd.students.scale_width(found, 0.5, inherit=True)
    assert student(IMAGES).shape == (5, 3) and student.count_params() < found.count_params()


def test_a_file_of_several_examples_at_a_time(tmp_path):
    """Its shapes are those of three images, which are one example each."""
    signature = [tf.TensorSpec((3, *SHAPE))]
    kernel = RNG.normal(size=(48, 3)).astype("float32")

    @tf.function(input_signature=signature)
    def call(x):
        return tf.reshape(tf.nn.avg_pool2d(x, 2, 2, "VALID"), (3, 48)) @ kernel

    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()], tf.Module())
    path = tmp_path / "three.tflite"
    path.write_bytes(converter.convert())
    found = read(str(path))
    assert isinstance(found, keras.Model), found.reason
    pooled = IMAGES.reshape(5, 4, 2, 4, 2, 3).mean((2, 4)).reshape(5, 48)
    np.testing.assert_allclose(found(IMAGES), pooled @ kernel, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.exists(), reason="the models of MLPerf Tiny are not here")
@pytest.mark.parametrize(
    "name", ["keyword_spotting", "resnet_large_cifar10_float.tflite", "keyword_spotting_float32.tflite"]
)
def test_models_of_others(name):
    """They give the answers of the files, which `read` compares; the last has kernels of 8 bits."""
    found = read(str(SHARED / name))
    assert isinstance(found, keras.Model), found.reason


def test_layers_that_keras_has_quantized_become_floats(tmp_path):
    inputs = keras.Input(SHAPE)
    x = layers.Flatten()(layers.Conv2D(4, 3, activation="relu")(inputs))
    x = keras.Sequential([layers.Dense(16, activation="relu")])(x)
    model = randomized(keras.Model(inputs, layers.Dense(3, activation="softmax", use_bias=False)(x)))
    # Else one class is certain.
    model.layers[-1].kernel.assign(model.layers[-1].kernel / 100)
    exact = model(IMAGES).numpy()
    assert exact.max() < 0.99
    model.quantize("int8")
    model.save(tmp_path / "int8.keras")
    teacher = load(tmp_path / "int8.keras")
    assert all(weight.dtype == "float32" for weight in teacher.weights)
    ours, theirs = keras.ops.softmax(teacher(IMAGES)).numpy(), model(IMAGES).numpy()
    assert 0 < np.abs(ours - exact).max() < 0.02 and np.abs(ours - theirs).max() < 0.02
    last = model.layers[-1]
    np.testing.assert_allclose(
        teacher.layers[-1].kernel, last.kernel.numpy() / last.kernel_scale.numpy(), rtol=1e-6
    )
    student = tfkd.students.scale_width(teacher, 1.0, inherit=True)
    np.testing.assert_allclose(student(IMAGES), teacher(IMAGES), rtol=1e-4, atol=1e-5)


def test_a_file_that_runs_a_folder_names_it(tmp_path):
    inner = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)])
    inner.export(str(tmp_path / "exported"), verbose=False)
    layer = layers.TFSMLayer(str(tmp_path / "exported"), call_endpoint="serve")
    keras.Sequential([keras.Input(SHAPE), layer]).save(tmp_path / "around.keras")
    # A long path is cut.
    with pytest.raises(ValueError, match=r"around.keras' is refused.*folder '/.*--teacher=FOLDER"):
        load(tmp_path / "around.keras")
    assert load(tmp_path / "exported").output_shape == (None, 3)
