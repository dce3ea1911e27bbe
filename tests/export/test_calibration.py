"""`calibration.npz`: what ranges are taken from, as other tools take it."""

import os

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import SHAPE, small_network
from tfkd import export
from tfkd.export import _calibration as calibration
from tfkd.export._conversion import convert

X = np.random.default_rng(0).random((6, *SHAPE))


def test_inputs_come_back_one_by_one_by_the_files_names(tmp_path):
    path = tmp_path / "calibration.npz"
    calibration.write_calibration(
        path, calibration.inputs_of_file(convert(small_network(2), "float32", None), X)
    )
    assert os.listdir(tmp_path) == ["calibration.npz"]
    with np.load(path) as saved:
        assert saved.files == ["image"] and saved["image"].dtype == np.float32
    ((key, examples),) = export.read_calibration(path).items()
    assert key == "serving_default" and len(examples) == 6
    assert all(each["image"].shape == (1, *SHAPE) for each in examples)
    np.testing.assert_allclose(examples[5]["image"][0], X[5], atol=1e-7)


def test_they_are_what_the_runtime_takes(tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    two, one = keras.Input((8,), name="two"), keras.Input((3,), name="one", dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(5, 2)(one))
    model = keras.Model({"two": two, "one": one}, layers.Dense(2)(layers.Concatenate()([embedded, two])))
    content = convert(model, "float32", None)
    rng = np.random.default_rng(0)
    given = {"two": rng.normal(size=(4, 8)), "one": rng.integers(0, 5, (4, 2)), "other": np.zeros(4)}
    inputs = calibration.inputs_of_file(content, given)
    # Filled up to the file's length.
    assert inputs["one"].tolist() == [[*row, 0] for row in given["one"].tolist()]
    calibration.write_calibration(tmp_path / "c.npz", inputs)
    runner = Interpreter(model_content=content).get_signature_runner("serving_default")
    for i, each in enumerate(export.read_calibration(tmp_path / "c.npz")["serving_default"]):
        expected = model({name: array[i : i + 1] for name, array in inputs.items()})
        np.testing.assert_allclose(runner(**each)["logits"], expected, atol=1e-5)


def test_an_input_may_have_any_name(tmp_path):
    inputs = {"file": np.ones((2, 3), "float32"), "a/b": np.zeros((2, 1), "int32")}
    calibration.write_calibration(tmp_path / "c.npz", inputs)
    loaded = calibration.load_calibration(tmp_path / "c.npz")
    assert loaded.keys() == inputs.keys() and loaded["a/b"].dtype == np.int32
    np.testing.assert_array_equal(loaded["file"], inputs["file"])


def test_of_large_inputs_there_are_fewer(monkeypatch):
    content = convert(small_network(2), "float32", None)
    for limit, number in ((4 * X[:2].nbytes // 8, 2), (1, 1)):
        monkeypatch.setattr(calibration, "_BYTES", limit)
        assert len(calibration.inputs_of_file(content, X)["image"]) == number


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        export.read_calibration(tmp_path / "none.npz")
    text, empty, single = (tmp_path / name for name in ("text.npz", "empty.npz", "single.npz"))
    text.write_text("no arrays")
    np.savez(empty)
    np.savez(single, image=np.zeros((2, 3)), other=np.zeros((3, 3)))
    objects = tmp_path / "objects.npz"
    np.savez(objects, image=np.array([{}], dtype=object))
    for path, message in (
        (text, "is not a calibration.npz"),
        (empty, "holds no inputs"),
        (single, "same number of examples of each input"),
        (objects, "is not a calibration.npz"),
    ):
        with pytest.raises(ValueError, match=message):
            export.read_calibration(path)
