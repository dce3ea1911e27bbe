"""TensorFlow Lite's metadata in files, read without tfkd: by the tables of the schema, and by MediaPipe."""

import zipfile

import keras
import numpy as np
import pytest
from flatbuffers import number_types, table
from keras import layers

from tests.conftest import blobs
from tfkd import export
from tfkd._core import compiled_model

flatbuffer_utils = pytest.importorskip("ai_edge_litert.tools.flatbuffer_utils")

LABELS = ["red", "green", "bl\u00fce"]
# The fields of metadata_schema.fbs in their order; what is not read here is None.
_FILE = {"name": "text", "description": "text", "type": "byte"}
_IMAGE = {"color_space": "byte", "default_size": {"width": "uint", "height": "uint"}}
_UNIT = {"options_type": "byte", "options": {"mean": "floats", "std": "floats"}}
_TENSOR = {
    "name": "text",
    "description": "text",
    "dimension_names": None,
    "content": {"type": "byte", "properties": _IMAGE},
    "process_units": [_UNIT],
    "stats": {"max": "floats", "min": "floats"},
    "associated_files": [_FILE],
}
_SUBGRAPH = {"name": None, "description": None, "inputs": [_TENSOR], "outputs": [_TENSOR]}
_MODEL = {"name": "text", "description": None, "version": None, "subgraphs": [_SUBGRAPH]}
_MODEL |= {"author": None, "license": None, "files": None, "min_parser_version": "text"}


def read(path):
    """What the entry TFLITE_METADATA says."""
    model = flatbuffer_utils.read_model(str(path))
    (entry,) = [each for each in model.metadata if each.name in (b"TFLITE_METADATA", "TFLITE_METADATA")]
    content = bytearray(bytes(model.buffers[entry.buffer].data))
    assert content[4:8] == b"M001"
    return _table(content, int.from_bytes(content[:4], "little"), _MODEL)


def _table(content, position, fields):
    here, read = table.Table(content, position), {}
    for number, (name, kind) in enumerate(fields.items()):
        if kind is not None and (offset := here.Offset(4 + 2 * number)):
            read[name] = _value(content, here, position + offset, kind)
    return read


def _value(content, here, place, kind):
    if kind == "text":
        return here.String(place).decode()
    if kind in ("byte", "uint"):
        flags = {"byte": number_types.Uint8Flags, "uint": number_types.Uint32Flags}
        return here.Get(flags[kind], place)
    if isinstance(kind, dict):
        return _table(content, here.Indirect(place), kind)
    start, length = here.Vector(place - here.Pos), here.VectorLen(place - here.Pos)
    if kind == "floats":
        return [here.Get(number_types.Float32Flags, start + 4 * i) for i in range(length)]
    return [_table(content, here.Indirect(start + 4 * i), kind[0]) for i in range(length)]


def network(channels=3, units=3, ending="softmax"):
    inputs = keras.Input((8, 6, channels), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
    return keras.Model(inputs, layers.Dense(units, ending)(x))


def pixels(n=8, shape=(8, 6, 3)):
    return np.random.default_rng(0).integers(0, 256, (n, *shape)).astype("uint8")


@pytest.mark.parametrize(
    ("quantization", "interface"),
    [
        ("float32", "float32"),
        ("dynamic", "float32"),
        ("int8", "float32"),
        ("int8", "int8"),
        ("int8", "uint8"),
    ],
)
def test_loaders_find_pixels_and_labels(tmp_path, quantization, interface):
    path, data = tmp_path / "m.tflite", pixels() / np.float32(127.5) - 1
    export.export_tflite(network(), path, quantization, data, interface, labels=LABELS, input_range=(-1, 1))
    said = read(path)
    assert said["name"] == "tfkd" and said["min_parser_version"] == "1.0.1"
    ((image,), (scores,)) = said["subgraphs"][0]["inputs"], said["subgraphs"][0]["outputs"]
    assert image == {
        "name": "image",
        "content": {"type": 2, "properties": {"color_space": 1, "default_size": {"width": 6, "height": 8}}},
        "process_units": [{"options_type": 1, "options": {"mean": [127.5], "std": [127.5]}}],
        "stats": {"max": [1], "min": [-1]},
    }
    assert scores["content"] == {"type": 1, "properties": {}} and scores["description"] == "After softmax."
    assert scores["associated_files"] == [{"name": "labels.txt", "type": 2}]
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().splitlines() == LABELS
        assert archive.getinfo("labels.txt").compress_type == zipfile.ZIP_STORED
    outputs = export.run_tflite(path, data)
    compiled = compiled_model.compiled_outputs(path.read_bytes(), data)
    if compiled is not None:
        np.testing.assert_allclose(compiled[0], outputs, atol=0.02 * np.ptp(outputs))


def test_grey_images_and_logits_without_labels(tmp_path):
    path = tmp_path / "m.tflite"
    export.export_tflite(network(channels=1, ending=None), path)
    ((image,), (logits,)) = (read(path)["subgraphs"][0][each] for each in ("inputs", "outputs"))
    assert image["content"]["properties"]["color_space"] == 2
    assert image["process_units"][0]["options"] == {"mean": [0], "std": [255]}
    assert "associated_files" not in logits and "without softmax" in logits["description"]
    assert not zipfile.is_zipfile(path)


def test_the_column_of_a_binary_classifier_has_its_own_name(tmp_path):
    path = tmp_path / "m.tflite"
    export.export_tflite(network(units=1, ending="sigmoid"), path, labels=["no", "yes"])
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt") == b"yes\n"
    assert export.read_metadata(path)["labels"] == ["no", "yes"]


def test_tables_and_texts_are_not_images(tmp_path):
    inputs = keras.Input((6,), dtype="int32", name="token_ids")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(5, 4)(inputs))
    model, path = keras.Model(inputs, layers.Dense(2)(x)), tmp_path / "m.tflite"
    tokens = np.random.default_rng(0).integers(0, 5, (20, 6)).astype("int32")
    export.export_tflite(model, path, "float32", tokens, vocabulary=list("abcde"), labels=["bad", "good"])
    (said,) = read(path)["subgraphs"][0]["inputs"]
    assert said == {
        "name": "token_ids",
        "content": {"type": 1, "properties": {}},
        "associated_files": [{"name": "vocab.txt", "type": 5}],
    }
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["labels.txt", "vocab.txt"]
    rows = keras.Input((3,))
    export.export_tflite(keras.Model(rows, layers.Dense(2)(rows)), path, None, blobs(9)[0][:, 0, :3, 0])
    assert read(path)["subgraphs"][0]["inputs"][0]["content"]["type"] == 1


def test_names_of_several_lines_are_refused():
    with pytest.raises(ValueError, match="`labels` must be names without line breaks"):
        export.export_tflite(network(), None, labels=["a", "b\nc", "d"])


@pytest.mark.parametrize("interface", ["float32", "uint8"])
@pytest.mark.parametrize("ends", [(0, 1), (-1, 1)])
def test_mediapipe_classifies_as_the_file_does(tmp_path, interface, ends):
    mediapipe = pytest.importorskip("mediapipe", reason="MediaPipe (450 MB) is not installed")
    from mediapipe.tasks.python import BaseOptions, vision

    images, path = pixels(4), tmp_path / "m.tflite"
    data = (images / 255 * (ends[1] - ends[0]) + ends[0]).astype("float32")
    quantization = "float32" if interface == "float32" else "int8"
    export.export_tflite(network(), path, quantization, data, interface, labels=LABELS, input_range=ends)
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(path)))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image, expected in zip(images, export.run_tflite(path, data), strict=True):
            seen = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
            found = classifier.classify(seen).classifications[0].categories
            scores = {each.category_name: each.score for each in found}
            np.testing.assert_allclose([scores[name] for name in LABELS], expected, atol=0.005)
