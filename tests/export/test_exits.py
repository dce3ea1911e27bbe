"""TFLite files of networks with exits, run one after another."""

import os

import keras
import numpy as np
import pytest
from keras import layers

from tests.conftest import blobs, small_network
from tfkd.export import export_exits
from tfkd.schemes import attach_exits

pytestmark = pytest.mark.slow

EXITS = ["relu1", "conv2"]


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(2)
    return attach_exits(small_network(4), EXITS)


def chained(files, x):
    """What each file of a chain says, which takes what the one before it gives."""
    from ai_edge_litert.interpreter import Interpreter

    runners = [Interpreter(file.path).get_signature_runner() for file in files]
    seen = []
    for image in x:
        values = {"image": image[None]}
        for runner in runners:
            returned = runner(**values)
            seen.append(returned["logits"])
            values = {"image": returned.get("features")}
    return np.concatenate(seen).reshape(len(x), len(files), -1)


@pytest.mark.parametrize("quantization", ["float32", "float16", "int8"])
def test_a_file_for_each_exit(network, quantization, tmp_path):
    x, _ = blobs(40)
    files = export_exits(network, tmp_path / "phone", quantization, representative_data=x)
    assert [os.path.basename(file.path) for file in files] == [
        "exit_1.tflite",
        "exit_2.tflite",
        "logits.tflite",
    ]
    assert [file.exits for file in files] == [["exit_1"], ["exit_2"], ["logits"]]
    assert [os.path.getsize(file.path) for file in files] == [file.size_bytes for file in files]
    expected = np.stack(network.predict(x, verbose=0), axis=1)
    limit = {"float32": 1e-5, "float16": 1e-2, "int8": 0.1}[quantization]
    difference = np.abs(chained(files, x) - expected).max() / np.ptp(expected)
    assert difference < limit
    assert max(file.relative_difference[0] for file in files) < 2 * limit


def test_all_exits_in_one_file(network, tmp_path):
    x, _ = blobs(20)
    (file,) = export_exits(network, tmp_path, segmented=False)
    assert file.exits == ["exit_1", "exit_2", "logits"] and os.listdir(tmp_path) == ["exits.tflite"]
    assert file.agreement == [1.0] * 3 and max(file.relative_difference) < 1e-4
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(file.path).get_signature_runner()
    returned = runner(image=x[:1])
    for name, expected in zip(file.exits, network.predict(x[:1], verbose=0), strict=True):
        np.testing.assert_allclose(returned[name], expected, atol=1e-5)


def test_half_precision_and_nothing_written(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = attach_exits(small_network(4), EXITS)
    finally:
        keras.config.set_dtype_policy("float32")
    files = export_exits(network, None)
    assert [file.path for file in files] == [None] * 3
    assert max(file.relative_difference[0] for file in files) < 1e-3


def test_what_it_refuses(network, tmp_path):
    with pytest.raises(ValueError, match=r"with 1 output.*attach_exits"):
        export_exits(small_network(4), tmp_path)
    with pytest.raises(ValueError, match=r"`quantization` must be one of"):
        export_exits(network, tmp_path, "int3")
    inputs = keras.Input((None, 2))
    x = layers.Dense(4, name="hidden")(inputs)
    open_sides = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))
    with pytest.raises(ValueError, match=r"one input of known size.*\(None, 2\)"):
        export_exits(attach_exits(open_sides, ["hidden"]), tmp_path)
    assert os.listdir(tmp_path) == []
