import errno
import os
import pathlib

import keras
import numpy as np
import pytest

import tfkd
from tests.conftest import SHAPE, blobs
from tfkd import export
from tfkd._core import files
from tfkd.export import _verification as verification
from tfkd.export._low_bits import LOW_BITS

pytestmark = pytest.mark.slow


# Kinds that need no extra; the others are in test_low_bits.
QUANTIZATIONS = [kind for kind in export.QUANTIZATIONS if kind not in LOW_BITS]


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
def test_file_behaves_like_the_model(teacher, tmp_path, quantization):
    path = tmp_path / "model.tflite"
    x, y = blobs(100, 1)
    check = export.export_tflite(teacher, path, quantization, blobs(100)[0], evaluation_data=(x, y))
    content = path.read_bytes()
    assert len(content) == check.size_bytes
    assert check.agreement > 0.95 and check.real_agreement > 0.95
    assert abs(check.accuracy - check.model_accuracy) <= 0.03
    assert check.latency_ms > 0
    logits = export.run_tflite(content, x)
    largest = np.abs(logits - teacher.predict(x, verbose=0)).max()
    limit = {"float32": 1e-4, "float16": 0.1, "dynamic": 1.5, "int8": 1.5, "int16x8": 1.5}[quantization]
    assert largest < limit
    np.testing.assert_array_equal(export.run_tflite(path, x), logits)
    assert os.listdir(tmp_path) == ["model.tflite"]


def details(content):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    return interpreter.get_input_details()[0], interpreter.get_output_details()[0], interpreter


@pytest.mark.parametrize(("interface", "dtype"), [("float32", np.float32), ("int8", np.int8)])
def test_interface_of_integer_files(teacher, tmp_path, interface, dtype):
    path = tmp_path / "model.tflite"
    check = export.export_tflite(teacher, path, "int8", interface=interface)
    source, target, interpreter = details(path.read_bytes())
    assert source["dtype"] == target["dtype"] == dtype
    assert check.agreement > 0.9
    signature = interpreter.get_signature_list()["serving_default"]
    assert signature == {"inputs": ["image"], "outputs": ["logits"]}
    # Full integer: nothing inside computes in float but the interface's own conversion.
    floats = [t for t in interpreter.get_tensor_details() if t["dtype"] == np.float32]
    assert len(floats) == (2 if interface == "float32" else 0)


def test_sizes_shrink():
    model = tfkd.students.lenet5_half()
    sizes = {q: export.export_tflite(model, None, q).size_bytes for q in QUANTIZATIONS}
    assert sizes["int8"] < 0.4 * sizes["float32"]
    assert sizes["dynamic"] < sizes["float16"] < sizes["float32"]


def test_scaling_and_batch_normalization_travel_with_the_file(trained, tmp_path):
    wrapped = tfkd.load_teacher(trained, mean=0.1, std=0.9)
    check = export.export_tflite(wrapped, tmp_path / "m.tflite")
    assert check.max_difference < 1e-3


def test_bad_requests(teacher, tmp_path):
    path = tmp_path / "m.tflite"
    for options, message in (
        (
            {"quantization": "int3"},
            "`quantization` must be one of float32, dynamic, float16, int8, int16x8",
        ),
        ({"interface": "int16"}, "`interface` must be one of"),
        ({"interface": "int8"}, "needs quantization='int8'"),
        ({"representative_data": np.zeros((4, 5, 5, 1))}, r"images of shape \(n, 12, 12, 1\)"),
        ({"representative_data": np.zeros((0, *SHAPE))}, "representative_data"),
        ({"sparse": True, "quantization": "int8"}, "no sparse 8-bit kernels"),
        ({"min_agreement": 90}, "`min_agreement` must be between 0 and 1"),
        ({"labels": ["cat", "dog"]}, "`labels` must be 4 names"),
    ):
        with pytest.raises(ValueError, match=message):
            export.export_tflite(teacher, path, **options)
    assert not os.listdir(tmp_path)


def test_labels_of_every_form(teacher):
    x, y = blobs(30)
    check = export.export_tflite
    plain = check(teacher, evaluation_data=(x, y), path=None)
    column = check(teacher, evaluation_data=(x, y[:, None]), path=None)
    assert column.accuracy == plain.accuracy > 0.9
    for bad in ((x, np.eye(4)[y]), (x[:, :5], y), (x, y[:3])):
        with pytest.raises(ValueError, match="`evaluation_data` must be images"):
            check(teacher, evaluation_data=bad, path=None)


def test_what_tflite_cannot_do_is_said(tmp_path):
    import tensorflow as tf

    class Determinant(keras.layers.Layer):
        def call(self, x):
            return tf.linalg.det(x[..., 0])[:, None] * tf.ones((1, 2))

    inputs = keras.Input((4, 4, 1))
    model = keras.Model(inputs, Determinant()(inputs), name="determinant")
    said = "TFLite cannot represent model 'determinant'.*no operator MatrixDeterminant"
    with pytest.raises(RuntimeError, match=said):
        export.export_tflite(model, tmp_path / "m.tflite")
    assert not os.listdir(tmp_path)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "student.tflite"
    path.write_bytes(b"old")

    class FullDisk:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[:1])
            raise OSError(errno.ENOSPC, "No space left on device")

    import builtins

    real_open = builtins.open
    monkeypatch.setattr(builtins, "open", lambda *a, **k: FullDisk(real_open(*a, **k)))
    with pytest.raises(OSError, match=r"Cannot write .*student.tflite.*No space left.*nothing was changed"):
        files.write_bytes(path, b"new content")
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["student.tflite"]


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), files.replacing(tmp_path / "a.weights.h5") as temporary:
        assert temporary.endswith(".weights.h5")
        pathlib.Path(temporary).write_text("half")
        raise KeyError
    assert not os.listdir(tmp_path)


def test_an_unwritable_place_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match=r"Cannot write .*report.html"):
        files.write_text(blocked / "report.html", "text")


def test_a_file_that_disagrees_is_an_error(teacher, tmp_path, monkeypatch):
    path = tmp_path / "m.tflite"
    # Ranges of images a thousand times too dark: everything saturates.
    dark = np.full((8, *SHAPE), 1e-3)
    options = {"quantization": "int8", "representative_data": dark, "verification_data": blobs(100)[0]}
    check = export.export_tflite(teacher, None, **options)
    assert check.agreement < 0.9
    with pytest.raises(RuntimeError, match=r"below `min_agreement` 90.00%; the file was not written"):
        export.export_tflite(teacher, path, min_agreement=0.9, **options)
    assert not path.exists()


@pytest.mark.parametrize("by_name", [True, False])
def test_several_inputs_go_by_name(tmp_path, by_name):
    # In this order, which is not that of the alphabet.
    two, one = keras.Input((8,), name="two"), keras.Input((3,), name="one")
    outputs = keras.layers.Dense(2)(keras.layers.Concatenate()([one, two]))
    model = keras.Model({"two": two, "one": one} if by_name else [two, one], outputs)
    with pytest.raises(ValueError, match="`verification_data` is needed"):
        export.export_tflite(model, None)
    rng = np.random.default_rng(0)
    x = {"two": rng.normal(size=(50, 8)), "one": rng.normal(size=(50, 3)), "other": np.zeros(50)}
    for kind in ("float32", "int8"):
        path = tmp_path / f"{kind}.tflite"
        check = export.export_tflite(model, path, kind, x, interface=kind)
        assert check.agreement > 0.9 and (kind == "int8" or check.max_difference < 1e-5)
        expected = model(
            [x["two"], x["one"]] if not by_name else {name: x[name] for name in ("one", "two")}
        )
        np.testing.assert_allclose(
            export.run_tflite(path, x), expected, atol=1e-5 if kind == "float32" else 0.3
        )
    signature = details(path.read_bytes())[2].get_signature_list()["serving_default"]
    assert sorted(signature["inputs"]) == ["one", "two"]
    with pytest.raises(ValueError, match=r"`images` must contain .*without one"):
        export.run_tflite(path, {"two": x["two"]})
    with pytest.raises(ValueError, match="`images` must be a dictionary of"):
        export.run_tflite(path, x["two"])


def test_files_lead_to_one_output():
    one = keras.Input((8,), name="one")
    with pytest.raises(ValueError, match="2 outputs"):
        export.export_tflite(keras.Model(one, [one * 2, one + 1]), None)


@pytest.mark.parametrize("name", ["representative_data", "verification_data"])
def test_images_that_are_no_floats_are_refused(teacher, name):
    with pytest.raises(TypeError, match=f"`{name}` must be floats.*uint8"):
        export.export_tflite(teacher, None, "int8", **{name: np.zeros((8, *SHAPE), "uint8")})


def test_latency_is_that_of_one_and_of_two_threads(teacher, monkeypatch):
    used, timed = [], verification._latency_ms

    class Counted(verification.TFLiteFile):
        def __init__(self, content, threads=1):
            super().__init__(content, threads)
            used.append(threads)

    def timed_and_counted(content, inputs, threads):
        assert timed(content, inputs, threads) > 0
        return used[-1]

    monkeypatch.setattr(verification, "TFLiteFile", Counted)
    monkeypatch.setattr(verification, "_latency_ms", timed_and_counted)
    check = export.export_tflite(teacher, None)
    assert (check.latency_ms, check.latency_2_threads_ms) == (1, 2)


def test_what_is_no_image_needs_examples():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match="`representative_data` is needed"):
        export.export_tflite(model, None, "int8")
    examples = np.random.default_rng(0).normal(size=(50, 6))
    assert export.export_tflite(model, None, "int8", examples).agreement > 0.9


def test_the_file_says_what_it_is(teacher, tmp_path):
    path = tmp_path / "m.tflite"
    names = ["a", "b", "c", "\u00e9"]
    export.export_tflite(teacher, path, labels=names, input_range=(0, 1))
    assert export.read_metadata(path) == {"labels": names, "input_range": [0, 1]}
    export.export_tflite(teacher, path)
    assert export.read_metadata(path.read_bytes())["labels"] is None


def test_the_range_of_inputs_is_that_of_procedural_images():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4)(x))
    for given in ({}, {"representative_data": 255 * blobs(100)[0]}):
        check = export.export_tflite(model, None, "int8", input_range=(0, 255), **given)
        # Otherwise everything above 1 would be cut off.
        logits = model.predict(255 * blobs(100)[0], verbose=0)
        assert check.agreement > 0.9 and check.max_difference < 0.1 * np.ptp(logits)


def test_descriptions_are_checked_first(teacher):
    for options, error, message in (
        ({"labels": "abcd"}, TypeError, "a list of names"),
        ({"input_range": (1,)}, ValueError, "`input_range` must be"),
        ({"input_range": (1, 0)}, ValueError, "`input_range` must be"),
        ({"sparse": True}, ValueError, "has no zeros"),
    ):
        with pytest.raises(error, match=message):
            export.export_tflite(teacher, None, **options)
    check = {"labels": np.arange(4), "input_range": np.array([0, 1], "float32")}
    assert export.export_tflite(teacher, None, **check).agreement == 1.0


def test_images_of_another_kind_are_refused(teacher, tmp_path):
    path = tmp_path / "m.tflite"
    export.export_tflite(teacher, path)
    with pytest.raises(TypeError, match=r"floats in \[0, 1\].*uint8.*Divide"):
        export.run_tflite(path, np.zeros((2, *SHAPE), "uint8"))
    with pytest.raises(ValueError, match=r"\(n, 12, 12, 1\)"):
        export.run_tflite(path, np.zeros((2, 5, 5, 1)))
