"""Files of few bits, by ai-edge-quantizer."""

import sys

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import SHAPE, blobs, small_network
from tfkd import export
from tfkd._core.runtimes import TFLiteFile
from tfkd.export import _calibration as calibration
from tfkd.export._conversion import convert
from tfkd.export._low_bits import LOW_BITS
from tfkd.pipelines._requirements import check_outputs

X, Y = blobs(100, 1)


@pytest.fixture
def quantizer():
    return pytest.importorskip("ai_edge_quantizer", reason="needs the extra aeq")


def test_the_extra_is_named_where_it_is_missing(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer.quantizer", None)
    for quantization in LOW_BITS:
        for ask in (
            lambda kind=quantization: export.export_tflite(small_network(2), tmp_path / "m.tflite", kind),
            lambda kind=quantization: check_outputs(kind, None),
        ):
            with pytest.raises(ImportError, match=rf"{quantization}.* needs .*pip install 'tfkd\[aeq\]'"):
                ask()
    assert not list(tmp_path.iterdir())


def test_they_go_with_no_other_option():
    for options, message in (
        ({"interface": "int8"}, "needs quantization='int8'"),
        ({"sparse": True}, "no sparse 8-bit kernels"),
    ):
        with pytest.raises(ValueError, match=message):
            export.export_tflite(small_network(2), None, "int4", **options)


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["int4", "w4a8"])
def test_files_of_4_bits_answer_as_the_model(quantizer, teacher, quantization, tmp_path, capfd):
    path = tmp_path / "m.tflite"
    check = export.export_tflite(
        teacher, path, quantization, blobs(200)[0], evaluation_data=(X, Y), labels=list("abcd")
    )
    assert check.agreement > 0.9 and check.real_agreement > 0.9 and check.quantization == quantization
    assert export.read_metadata(path)["labels"] == list("abcd")
    largest = np.ptp(teacher.predict(X, verbose=0))
    difference = np.abs(export.run_tflite(path, X) - teacher.predict(X, verbose=0)).max()
    assert 0 < difference < 0.3 * largest
    assert "Calibration" not in capfd.readouterr().err
    eight = export.export_tflite(teacher, None, "dynamic" if quantization == "int4" else "int8", X)
    assert check.size_bytes < eight.size_bytes


def kernels(content):
    """The type of the kernel of each convolution or dense layer, by the operator's name."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    types = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    graph = model.subgraphs[0]
    operators = [(names[model.operatorCodes[op.opcodeIndex].builtinCode], op) for op in graph.operators]
    with_kernels = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    return {name: types[graph.tensors[op.inputs[1]].type] for name, op in operators if name in with_kernels}


@pytest.mark.slow
@pytest.mark.parametrize(("quantization", "dense"), [("int4", "INT4"), ("w4a8", "INT4"), ("int2", "INT2")])
def test_weights_are_of_the_bits_that_were_asked_for(quantizer, quantization, dense):
    inputs = keras.Input(SHAPE)
    x = layers.DepthwiseConv2D(3)(layers.Conv2D(8, 3, activation="relu")(inputs))
    model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(x)))
    content = convert(model, quantization, X)
    assert kernels(content) == {"CONV_2D": "INT4", "DEPTHWISE_CONV_2D": "INT8", "FULLY_CONNECTED": dense}
    assert TFLiteFile(content).dtypes == ["float32", "float32"]


@pytest.mark.slow
def test_ranges_are_those_of_the_inputs(quantizer, teacher):
    dark = np.full((8, *SHAPE), 1e-3, "float32")
    agreements = [
        export.export_tflite(teacher, None, "w4a8", data, verification_data=X).agreement
        for data in (dark, blobs(100)[0])
    ]
    assert agreements[0] < 0.9 < agreements[1]


@pytest.mark.slow
def test_our_calibration_file_is_taken_by_the_quantizer(quantizer, teacher, tmp_path):
    from ai_edge_quantizer import recipe

    export.export_tflite(teacher, tmp_path / "float.tflite")
    content = (tmp_path / "float.tflite").read_bytes()
    calibration.write_calibration(tmp_path / "c.npz", calibration.inputs_of_file(content, X))
    quantizing = quantizer.Quantizer(str(tmp_path / "float.tflite"), recipe.static_wi8_ai8())
    ranges = quantizing.calibrate(export.read_calibration(tmp_path / "c.npz"))
    made = bytes(quantizing.quantize(ranges, enable_progress_report=False).quantized_model)
    outputs = export.run_tflite(made, X)
    agreeing = outputs.argmax(-1) == teacher.predict(X, verbose=0).argmax(-1)
    assert np.mean(agreeing) > 0.95
