"""Files are made of whatever people have in their hands, or what is wrong with it is said."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests.conftest import SHAPE, blobs, small_network
from tfkd import export
from tfkd.export._examples import as_inputs, as_pair

X, Y = blobs(40)


class Code(keras.Model):
    """A model whose layers are called by code."""

    def __init__(self):
        super().__init__()
        self.inner = small_network(4)

    def call(self, inputs):
        return 2 * self.inner(inputs)


class Sequence(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        return X[part], Y[part]


FORMS = {
    "array": lambda: X,
    "list": lambda: [*X],
    "tensor": lambda: tf.constant(X),
    "dataset of inputs": lambda: tf.data.Dataset.from_tensor_slices(X),
    "dataset of batches": lambda: tf.data.Dataset.from_tensor_slices(X).batch(16),
    "dataset with labels": lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(16),
    "generator function as TFLite's guide has it": lambda: lambda: ([x[None]] for x in X),
    "generator function of inputs": lambda: lambda: iter(X),
    "generator": lambda: ([x[None]] for x in X),
    "endless generator": lambda: (x for _ in iter(int, 1) for x in X),
    "PyDataset": Sequence,
    "dataset of dictionaries": lambda: tf.data.Dataset.from_tensor_slices({"image": X}).batch(16),
}


@pytest.mark.parametrize("form", FORMS)
def test_inputs_of_every_form(form):
    inputs = as_inputs(FORMS[form](), len(SHAPE))
    np.testing.assert_array_equal(inputs[:40], X)
    assert len(inputs) == (2048 if "endless" in form else 40)


@pytest.mark.parametrize("data", [(X, Y), tf.data.Dataset.from_tensor_slices((X, Y)).batch(16), Sequence()])
def test_pairs_of_every_form(data):
    inputs, labels = as_pair(data, len(SHAPE))
    np.testing.assert_array_equal(inputs, X)
    np.testing.assert_array_equal(labels, Y)
    with pytest.raises(ValueError, match=r"`evaluation_data` must have elements \(inputs, labels\)"):
        as_pair(tf.data.Dataset.from_tensor_slices(X), len(SHAPE))


def test_streams_reach_the_file(teacher):
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    check = export.export_tflite(
        teacher, None, "int8", lambda: ([x[None]] for x in X), evaluation_data=stream
    )
    assert check.agreement > 0.9 and check.accuracy == pytest.approx(check.model_accuracy, abs=0.05)
    with pytest.raises(ValueError, match="`representative_data` must be images of shape"):
        export.export_tflite(teacher, None, "int8", lambda: iter([]))


def test_models_of_code_and_distillers(teacher):
    code = Code()
    with pytest.raises(ValueError, match=r"was never called.*Call it on a batch of inputs first"):
        export.export_tflite(code, None, verification_data=X)
    expected = code(X)
    content_of = {}
    for name, model in (("code", code), ("distiller", distiller_of(teacher))):
        check = export.export_tflite(model, None, verification_data=X)
        assert check.max_difference < 1e-4
        content_of[name] = check.size_bytes
    assert np.isfinite(expected).all()
    student = distiller_of(teacher).student
    assert export.export_tflite(student, None, verification_data=X).size_bytes == content_of["distiller"]
    with pytest.raises(TypeError, match=r"`model` must be a keras\.Model"):
        export.export_tflite("model.keras", None)


def distiller_of(teacher):
    return tfkd.Distiller(teacher, small_network(4), tfkd.losses.SoftTargets(), student_loss_weight=0.0)


def test_open_sides(tmp_path):
    inputs = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(3)(x))
    with pytest.raises(ValueError, match=r"`image_shape` is needed.*\(height, width, channels\)"):
        export.export_tflite(model, None, verification_data=X)
    for wrong in ((12, 12, 3), (12, 12), (0, 12, 1)):
        with pytest.raises(ValueError, match="`image_shape` must match"):
            export.export_tflite(model, None, image_shape=wrong)
    check = export.export_tflite(model, tmp_path / "m.tflite", "int8", image_shape=SHAPE)
    assert check.agreement > 0.8
    assert export.run_tflite(tmp_path / "m.tflite", X).shape == (40, 3)


def test_integers_are_taken_as_integers(tmp_path):
    inputs = keras.Input((7,), dtype="int32")
    words = layers.GlobalAveragePooling1D()(layers.Embedding(10, 8)(inputs))
    model = keras.Model(inputs, layers.Dense(4)(words))
    x = np.random.default_rng(0).integers(0, 10, (16, 7))
    check = export.export_tflite(model, tmp_path / "m.tflite", verification_data=x)
    assert check.max_difference < 1e-5
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_path=str(tmp_path / "m.tflite")).get_input_details()[0]
    assert details["dtype"] == np.int32
    np.testing.assert_allclose(export.run_tflite(tmp_path / "m.tflite", x), model(x), atol=1e-5)


def test_cameras_give_uint8(teacher, tmp_path):
    path = tmp_path / "m.tflite"
    check = export.export_tflite(teacher, path, "int8", X, interface="uint8")
    assert check.agreement > 0.9
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    assert interpreter.get_input_details()[0]["dtype"] == np.uint8
    assert interpreter.get_output_details()[0]["dtype"] == np.uint8
    # Pixels go in as they are, and mean what they mean in the file that takes floats.
    (scale, zero), pixels = interpreter.get_input_details()[0]["quantization"], np.round(255 * X[:8])
    assert scale == pytest.approx(1 / 255, rel=0.02) and zero == 0
    runner = interpreter.get_signature_runner()
    raw = np.concatenate([runner(image=each[None].astype("uint8"))["logits"] for each in pixels])
    scale, zero = interpreter.get_output_details()[0]["quantization"]
    answers = (raw.astype("float32") - zero) * scale
    export.export_tflite(teacher, tmp_path / "float.tflite", "int8", X)
    of_floats = export.run_tflite(tmp_path / "float.tflite", (pixels / 255).astype("float32"))
    np.testing.assert_allclose(answers, of_floats, atol=3 * scale)
    np.testing.assert_allclose(answers, export.run_tflite(path, pixels / 255), atol=3 * scale)


def series(unroll):
    inputs = keras.Input((6, 3))
    return keras.Model(inputs, layers.Dense(4)(layers.LSTM(5, unroll=unroll)(inputs)), name="series")


STEPS = np.random.default_rng(0).random((32, 6, 3)).astype("float32")


@pytest.mark.slow
def test_a_converter_that_dies_is_survived_and_its_advice_works(tmp_path, capfd):
    said = r"the converter crashed \(SIG\w+\).*unroll=True.*'dynamic' or 'float16'"
    with pytest.raises(RuntimeError, match=said) as raised:
        export.export_tflite(series(False), tmp_path / "m.tflite", "int8", STEPS)
    assert len(str(raised.value)) < 400 and not list(tmp_path.iterdir())
    assert "loc(" not in "".join(capfd.readouterr())
    for model, kind in ((series(True), "int8"), (series(False), "dynamic"), (series(False), "float16")):
        check = export.export_tflite(model, None, kind, STEPS)
        assert check.agreement > 0.8, kind


@pytest.mark.slow
def test_the_other_process_makes_the_same_file(monkeypatch):
    from tfkd.export import _conversion

    model = small_network(4)
    here = _conversion.convert(model, "int8", X)
    monkeypatch.setattr(_conversion, "_has_loops", lambda graph: True)
    there = _conversion.convert(model, "int8", X)
    np.testing.assert_array_equal(export.run_tflite(here, X), export.run_tflite(there, X))

    class Own(layers.Layer):
        def call(self, x):
            return tf.linalg.det(x[..., 0])[:, None] * tf.ones((1, 2))

    inputs = keras.Input((4, 4, 1))
    with pytest.raises(RuntimeError, match="no operator MatrixDeterminant"):
        _conversion.convert(keras.Model(inputs, Own()(inputs)), "int8", np.ones((4, 4, 4, 1), "float32"))


def test_one_output_in_a_dictionary_and_several():
    inputs = keras.Input(SHAPE)
    answers = small_network(4)(inputs)
    named = keras.Model(inputs, {"answer": answers})
    assert export.export_tflite(named, None, verification_data=X).max_difference < 1e-4
    with pytest.raises(ValueError, match="has 2 outputs"):
        export.export_tflite(keras.Model(inputs, [answers, answers]), None)

    class Pair(Code):
        def call(self, inputs):
            return self.inner(inputs), self.inner(inputs)

    pair = Pair()
    pair(X)
    with pytest.raises(ValueError, match="has 2 outputs"):
        export.export_tflite(pair, None)
    with pytest.raises(ValueError, match="was never called"):
        export.export_tflite(keras.Sequential([layers.Dense(3)]), None)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (lambda: iter([None]), ValueError, "must be inputs with 3 axes, or batches"),
        (lambda: None, TypeError, "A generator function must return a generator"),
        (["a.png", "b.png"], TypeError, "`representative_data` must be numbers"),
        (np.full((4, *SHAPE), np.nan, "float32"), ValueError, "`representative_data` must be finite"),
        ((255 * X).astype("uint8"), TypeError, "`representative_data` must be floats on the scale"),
    ],
)
def test_what_are_no_inputs(teacher, data, error, message):
    with pytest.raises(error, match=message):
        export.export_tflite(teacher, None, "int8", data)


def test_pixels_of_whole_numbers():
    inputs = keras.Input(SHAPE, dtype="uint8")
    model = keras.Model(inputs, small_network(4)(layers.Rescaling(1 / 255)(inputs)))
    assert export.export_tflite(model, None).relative_difference < 1e-4
    assert export.export_tflite(model, None, "int8").agreement > 0.9


@pytest.mark.parametrize("quantization", ["float32", "dynamic", "float16", "int8"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["conv1", "logits"])
def test_outputs_that_are_not_finite_are_no_file(quantization, value, where, tmp_path):
    model = small_network(4)
    model.get_layer(where).kernel.assign(model.get_layer(where).kernel * value)
    with pytest.raises(RuntimeError, match="NaN or infinite, so the file was not written"):
        export.export_tflite(model, tmp_path / "m.tflite", quantization, X, min_agreement=1.0)
    assert not list(tmp_path.iterdir())


def test_adapted_layers_have_no_kernels_to_round():
    model = small_network(4)
    model.get_layer("logits").enable_lora(2)
    assert export.export_tflite(model, None, "int8", X).agreement > 0.9
