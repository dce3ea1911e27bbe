"""Teachers by name: networks of keras.applications, and presets of keras-hub."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd.teachers import _by_name
from tfkd.teachers._scaling import preparation

IMAGES = np.random.default_rng(0).uniform(size=(3, 32, 32, 3)).astype("float32")
pytestmark = pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning")


def small(monkeypatch):
    """Puts a small network in the place of MobileNet; returns what builds it."""

    def build(weights=None):
        inputs = keras.Input(IMAGES.shape[1:])
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
        model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
        if weights is not None:
            model.load_weights(weights)
        return model

    build.__module__ = keras.applications.MobileNet.__module__
    monkeypatch.setattr(keras.applications, "MobileNet", build)
    return build


def test_a_network_of_keras_applications_with_a_file_of_weights(tmp_path, monkeypatch):
    model = small(monkeypatch)()
    path = str(tmp_path / "mine.weights.h5")
    model.save_weights(path)
    teacher = tfkd.load_teacher("keras.applications:MobileNet", weights=path)
    expected = model(keras.applications.mobilenet.preprocess_input(255 * IMAGES))
    np.testing.assert_allclose(keras.ops.softmax(teacher(IMAGES)), expected, atol=1e-5)
    assert teacher.input_shape == (None, 32, 32, 3)
    found = tfkd.teachers.find_scaling(_by_name.network_named("keras.applications:MobileNet", path))
    assert found.sure and found.input_range == (0, 1)


@pytest.mark.parametrize(
    "family", ["resnet50", "densenet", "efficientnet", "mobilenet_v3", "vgg16", "xception"]
)
def test_scalings_are_those_of_keras_applications(family):
    preprocess = getattr(keras.applications, family).preprocess_input
    scaling = _by_name._own_scaling(preprocess)
    prepared = preparation(shape=(32, 32, 3), **scaling.options).of_arrays(IMAGES)
    np.testing.assert_allclose(prepared, preprocess(255 * IMAGES), rtol=1e-4, atol=1e-3)


def test_names_and_weights_that_cannot_be_had(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"Unknown network of keras.app.* 'MobileNetV7'.*'MobileNetV2'"):
        tfkd.load_teacher("keras.applications:MobileNetV7")
    with pytest.raises(
        FileNotFoundError, match=r"`weights`: the file .* does not exist.*--teacher_weights"
    ):
        tfkd.load_teacher("keras.applications:MobileNet", weights=tmp_path / "none.h5")
    build = small(monkeypatch)
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match=r"are not those in '.*other.weights.h5'.*--teacher_weights"):
        tfkd.load_teacher("keras.applications:MobileNet", weights=tmp_path / "other.weights.h5")

    def offline(weights):
        raise Exception("URL fetch failure on https://storage.googleapis.com: no address")

    offline.__module__ = build.__module__
    monkeypatch.setattr(keras.applications, "MobileNet", offline)
    with pytest.raises(ValueError, match=r"could not be downloaded: URL fetch.*--teacher_weights=name"):
        tfkd.load_teacher("keras.applications:MobileNet")
    with pytest.raises(ValueError, match="`weights` is for a network by name"):
        tfkd.load_teacher(tmp_path / "model.keras", weights=tmp_path / "other.weights.h5")


@pytest.fixture(scope="module")
def hub():
    return pytest.importorskip("keras_hub")


@pytest.fixture(scope="module")
def saved(hub, tmp_path_factory):
    """A folder with an image classifier, and the classifier."""
    backbone = hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[3],
        stackwise_num_filters=[64],
        stackwise_num_blocks=[1],
        stackwise_num_strides=[1],
        block_type="basic_block",
        image_shape=(32, 32, 3),
    )
    converter = hub.layers.ResNetImageConverter(
        image_size=(32, 32), scale=[0.01, 0.02, 0.03], offset=[-1.0, -2.0, -3.0]
    )
    preprocessor = hub.models.ResNetImageClassifierPreprocessor(converter)
    model = hub.models.ResNetImageClassifier(backbone=backbone, num_classes=4, preprocessor=preprocessor)
    folder = tmp_path_factory.mktemp("preset") / "mine"
    model.save_to_preset(str(folder))
    return folder, model


def test_a_folder_of_keras_hub(saved):
    folder, model = saved
    teacher = tfkd.load_teacher(f"keras_hub:{folder}")
    scaled = 255 * IMAGES * np.array([0.01, 0.02, 0.03], "float32") - np.array([1.0, 2.0, 3.0], "float32")
    expected = model(scaled).numpy()
    np.testing.assert_allclose(teacher(IMAGES), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        teacher(IMAGES), model(model.preprocessor(255 * IMAGES)), rtol=1e-3, atol=1e-4
    )


def test_folders_of_keras_hub_are_not_trusted(saved, tmp_path):
    folder, _ = saved
    task = json.loads((folder / "task.json").read_text())
    evil = {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None}
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    task["config"]["backbone"] = evil
    (tmp_path / "task.json").write_text(json.dumps(task))
    with pytest.raises(ValueError, match=r"keras_hub:.*is refused:.*class system of module 'os'"):
        tfkd.load_teacher(f"keras_hub:{tmp_path}")
    (tmp_path / "task.json").unlink()
    with pytest.raises(ValueError, match=r"has no task.json that describes an image classifier"):
        tfkd.load_teacher(f"keras_hub:{tmp_path}")


def test_presets_that_cannot_be_had(hub, monkeypatch):
    with pytest.raises(
        ValueError, match=r"no folder 'resnet_19' and no keras-hub image classifier of that name"
    ):
        tfkd.load_teacher("keras_hub:resnet_19")
    name = next(iter(hub.models.ImageClassifier.presets))

    def offline(*args, **options):
        raise ConnectionError("no address")

    monkeypatch.setattr(hub.layers.ImageConverter, "from_preset", offline)
    with pytest.raises(ValueError, match=r"not be downloaded: no address.*--teacher=keras_hub:folder"):
        tfkd.load_teacher(f"keras_hub:{name}")
    with pytest.raises(ValueError, match=r"`weights` is for networks of keras"):
        tfkd.load_teacher(f"keras_hub:{name}", weights="mine.h5")
