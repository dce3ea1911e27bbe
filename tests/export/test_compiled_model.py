"""LiteRT's CompiledModel beside the interpreter."""

import sys

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import blobs, small_network
from tfkd import export
from tfkd._core import compiled_model
from tfkd._core.runtimes import TFLiteFile
from tfkd.export import _verification as verification
from tfkd.export._conversion import convert
from tfkd.export._figures import compiled

X = blobs(20)[0]
pytest.importorskip("ai_edge_litert.compiled_model", reason="LiteRT without CompiledModel")


@pytest.mark.parametrize("quantization", ["float32", "dynamic", "float16", "int8", "int16x8"])
def test_it_answers_as_the_interpreter(quantization, capfd):
    content = convert(small_network(2), quantization, X)
    (outputs,) = compiled_model.compiled_outputs(content, X)
    (expected,) = TFLiteFile(content)(X)
    assert outputs.shape == (20, 4) and outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, expected, atol=0.02 * np.ptp(expected))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("interface", ["int8", "uint8"])
def test_integers_go_in_and_come_out(interface):
    content = convert(small_network(2), "int8", X, interface)
    (outputs,), (expected,) = compiled_model.compiled_outputs(content, X), TFLiteFile(content)(X)
    np.testing.assert_allclose(outputs, expected, atol=0.02 * np.ptp(expected))


def test_several_inputs_go_by_name():
    two, one = keras.Input((8,), name="two"), keras.Input((3,), name="one", dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(5, 2)(one))
    model = keras.Model({"two": two, "one": one}, layers.Dense(2)(layers.Concatenate()([embedded, two])))
    rng = np.random.default_rng(0)
    x = {"two": rng.normal(size=(4, 8)), "one": rng.integers(0, 5, (4, 3)).astype("int32")}
    (outputs,) = compiled_model.compiled_outputs(convert(model, "float32", None), x)
    np.testing.assert_allclose(outputs, model(x), atol=1e-5)


def test_a_check_has_the_difference(monkeypatch):
    model = small_network(2)
    assert export.export_tflite(model, None, verification_data=X).compiled_difference < 1e-4
    real = compiled_model.compiled_outputs
    monkeypatch.setattr(verification, "compiled_outputs", lambda *given: [real(*given)[0] + 1])
    check = export.export_tflite(model, None, verification_data=X)
    assert check.compiled_difference == pytest.approx(1 / np.ptp(model.predict(X, verbose=0)), rel=1e-3)


def test_without_it_there_is_no_difference(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.compiled_model", None)
    assert export.export_tflite(small_network(2), None, verification_data=X).compiled_difference is None


@pytest.mark.parametrize("ending", ["raise RuntimeError('Failed to compile')", "import os; os.abort()", ""])
def test_a_file_that_it_refuses_or_dies_of_has_none(ending, monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(ending + "\n")
    monkeypatch.setattr(compiled_model, "_PROGRAM", program)
    assert compiled_model.compiled_outputs(convert(small_network(2), "float32", None), X) is None


def test_reports_say_it():
    row = {"name": "original", "quantization": "int8"}
    assert compiled([row, {**row, "compiled_difference": None}]) == ""
    assert "gives the same outputs" in compiled([row, {**row, "compiled_difference": 0.01}])
    for difference, said in ((0.5, "50.00 %"), (float("nan"), "nan %")):
        text = compiled([{**row, "compiled_difference": difference}])
        assert text.startswith("Attention") and "for original, int8" in text and said in text
