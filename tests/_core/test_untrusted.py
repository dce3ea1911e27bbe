import inspect
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras.src.ops import core, image, linalg, math, nn, numpy

import tfkd
from tests.conftest import small_network
from tfkd._core import model_files
from tfkd._core.untrusted import _allowed, _saved_models, check_configuration, in_one_line, refusal
from tfkd.compression import BridgedModel, to_tf_keras

# The lists are those of the newest Keras; what an older one lacks, nobody can name.
newest_keras = pytest.mark.skipif(
    tuple(map(int, keras.__version__.split(".")[:2])) < (3, 15), reason="Keras before 3.15 has less"
)


@newest_keras
def test_somebody_has_looked_at_every_layer_of_keras():
    """A layer that a later Keras adds is on neither list."""
    known = {name for name, value in vars(layers).items() if inspect.isclass(value)} | {"Input"}
    assert known == _allowed.LAYERS | _allowed.REFUSED_LAYERS
    assert not _allowed.LAYERS & _allowed.REFUSED_LAYERS


@newest_keras
def test_the_lists_name_what_there_is():
    operations = {
        name
        for module in (core, image, linalg, math, nn, numpy)
        for name, value in vars(module).items()
        if inspect.isclass(value)
    }
    assert operations >= _allowed.OPERATIONS
    assert set(dir(tf.raw_ops)) >= _saved_models._COMPUTING | _saved_models._OF_SAVER


@pytest.mark.parametrize("name", ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "ConvNeXtTiny"])
def test_networks_of_keras_are_let_through(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3))
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    check_configuration(config, "`source`", "")


IMAGES = np.random.default_rng(0).uniform(size=(8, 12, 12, 3)).astype("float32")
COMPRESSED = {
    "pruned": lambda model: tfkd.compression.prune(model, 0.5),
    "clustered": lambda model: tfkd.compression.cluster(model, 4),
    "quantized": lambda model: tfkd.compression.quantize_aware(model, images=IMAGES),
    "bridged": lambda model: BridgedModel(to_tf_keras(model), plain=model),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_students_are_let_through(name, tmp_path):
    inputs = keras.Input((12, 12, 3))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs)))
    x = layers.SeparableConv2D(4, 3, activation="silu")(x)
    student = COMPRESSED[name](keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x))))
    student.save(tmp_path / "student.keras")
    loaded = model_files.load_keras(str(tmp_path / "student.keras"), "student")
    np.testing.assert_allclose(loaded(IMAGES), student(IMAGES), rtol=1e-5, atol=1e-6)


def test_a_compiled_distiller_is_let_through(tmp_path):
    distiller = tfkd.Distiller(small_network(8), small_network(4), tfkd.losses.SoftTargets())
    distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    distiller.save(tmp_path / "distiller.keras")
    assert model_files.load_keras(str(tmp_path / "distiller.keras"), "source").name == distiller.name


def test_what_others_say_is_shortened():
    said = "\x1b[1mCould not load.\x1b[0m\n\nFull object config: {'a': 1}"
    assert in_one_line(said) == "Could not load."
    wrapped = (
        "<class 'A'> failed. Please ensure that components\n\nconfig={}.\n\nException encountered: no b"
    )
    assert in_one_line(wrapped) == "<class 'A'> failed: no b"
    message = str(refusal("`source`: 'a.keras'", "word " * 999, "Remedy."))
    assert len(message) <= 600 and message.endswith(" ... Remedy.")
