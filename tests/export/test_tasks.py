"""TFLite files of networks of every task: what a check says is right, or is not there."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tests.tasks.mine import Maps
from tfkd import export

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(200, 12, 12, 3)).astype("float32")
BRIGHTNESS = X.mean((1, 2))
# What makes the ranges of an int8 file useless.
BLACK = (1e-3 * RNG.uniform(size=(64, 12, 12, 3))).astype("float32")


def network(units, activation=None, scale=200.0):
    """Answers by how much brighter than usual each colour is."""
    inputs = keras.Input((12, 12, 3))
    x = layers.Rescaling(scale, -scale / 2)(layers.GlobalAveragePooling2D()(inputs))
    model = keras.Model(inputs, layers.Dense(units, activation=activation)(x), name="net")
    model.layers[-1].kernel.assign(np.eye(3, units))
    return model


def maps():
    inputs = keras.Input((12, 12, 3))
    return keras.Model(inputs, layers.Conv2D(3, 1, activation="softmax")(inputs), name="maps")


def checked(model, quantization="float32", representative_data=X, **options):
    return export.export_tflite(
        model, None, quantization, representative_data, verification_data=X, **options
    )


BRIGHT = (BRIGHTNESS > 0.5).astype(int)


@pytest.mark.parametrize(
    ("activation", "task"), [("sigmoid", None), ("sigmoid", "classification"), (None, "classification")]
)
@pytest.mark.parametrize("labels", [BRIGHT[:, 0], BRIGHT[:, :1].astype("float32")])
def test_a_binary_classifier_with_one_output(activation, task, labels):
    """Its accuracy is that of a threshold, 0.5 or 0, as Keras has it."""
    model = network(1, activation)
    wrong = labels.copy()
    wrong[:20] = 1 - wrong[:20]
    check = checked(model, task=task, evaluation_data=(X, wrong))
    threshold = keras.metrics.BinaryAccuracy(threshold=0.5 if activation else 0.0)
    threshold.update_state(wrong.reshape(-1, 1), model(X))
    expected = pytest.approx(float(threshold.result()))
    assert check.accuracy == check.model_accuracy == expected == pytest.approx(0.9)
    assert check.agreement == check.real_agreement == 1.0
    assert check.scores == check.model_scores == {"accuracy": expected}


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_a_ruined_binary_file_does_not_pass(activation):
    model = network(1, activation)
    ruined = checked(model, "int8", BLACK, task="classification", evaluation_data=(X, BRIGHT[:, 0]))
    assert ruined.model_accuracy > 0.99
    # All are on the same side: half of them are right, and half answered as the model does.
    same_side = max(BRIGHT[:, 0].mean(), 1 - BRIGHT[:, 0].mean())
    assert 1 - same_side - 0.02 <= ruined.accuracy <= same_side + 0.02
    assert ruined.agreement == pytest.approx(ruined.accuracy, abs=0.02)
    with pytest.raises(RuntimeError, match=r"agree on \d\d\.\d\d% of images, below `min_agreement` 95"):
        checked(model, "int8", BLACK, task="classification", min_agreement=0.95)


@pytest.mark.parametrize(("activation", "task"), [("sigmoid", None), (None, "multi_label")])
def test_independent_labels(activation, task):
    model = network(3, activation)
    wrong = BRIGHT.copy()
    wrong[:50, 1] = 1 - wrong[:50, 1]
    check = checked(model, task=task, evaluation_data=(X, wrong))
    right = (model.predict(X, verbose=0) > (0.5 if activation else 0)) == wrong
    assert check.accuracy == check.scores["accuracy"] == pytest.approx(right.mean())
    assert right.mean() < 0.93
    assert check.scores["all_labels_accuracy"] == pytest.approx(right.all(-1).mean())
    assert check.agreement == check.real_agreement == 1.0
    with pytest.raises(RuntimeError, match=r"agree on .* of the labels of images, below `min_agreement`"):
        checked(model, "int8", BLACK, task=task, min_agreement=0.95)
    with pytest.raises(ValueError, match=r"`evaluation_data` must be images.*0 or 1 for each of 3 labels"):
        checked(model, task=task, evaluation_data=(X, BRIGHT[:, 0]))


@pytest.mark.parametrize(("units", "task"), [(1, None), (3, "regression")])
def test_numbers(units, task):
    model = network(units, scale=4.0)
    truth = 4 * BRIGHTNESS[:, :units] - 2 + 0.25
    check = checked(model, task=task, evaluation_data=(X, truth))
    assert check.accuracy is check.model_accuracy is None
    assert check.scores["mean_absolute_error"] == pytest.approx(0.25, rel=1e-3)
    assert check.scores["r2"] == pytest.approx(1 - 0.25**2 / truth.var(0).mean(), rel=1e-2)
    assert check.agreement > 0.999 and check.relative_difference < 1e-4
    ruined = checked(model, "int8", BLACK, task=task)
    assert ruined.agreement < 0.2
    with pytest.raises(RuntimeError, match=r"agree to \d+\.\d\d%.*below `min_agreement` 90"):
        checked(model, "int8", BLACK, task=task, min_agreement=0.9)


def test_maps_have_figures_only_with_a_task():
    model = maps()
    check = checked(model)
    assert check.agreement is check.accuracy is None and check.max_difference < 1e-4
    for options in ({"min_agreement": 0.5}, {"evaluation_data": (X, np.zeros((200, 12, 12)))}):
        with pytest.raises(ValueError, match=r"`task`.*subclass of tfkd.tasks.Task"):
            checked(model, **options)
    truth = model.predict(X, verbose=0).argmax(-1)
    truth[:100] = (truth[:100] + 1) % 3
    check = checked(model, task=Maps, min_agreement=0.9, evaluation_data=(X, truth))
    assert check.agreement > 0.999 and check.accuracy == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match=r"returns \(batch, .*Received: output shape \(None, 12, 12, 3\)"):
        checked(model, task="multi_label")


def test_the_task_of_a_teacher_travels_with_the_model():
    """Into pruned, clustered and quantization-aware students, too."""
    teacher = tfkd.load_teacher(network(3, scale=4.0), task="regression")
    truth = 4 * BRIGHTNESS - 2
    students = [
        teacher,
        tfkd.compression.cluster(teacher, 4),
        tfkd.compression.quantize_aware(teacher, images=X),
    ]
    for student in students:
        quantization = "float32" if student is not students[-1] else "int8"
        check = checked(student, quantization, None, evaluation_data=(X, truth))
        assert check.scores.keys() == {"mean_absolute_error", "r2"} and check.accuracy is None
        assert check.scores["r2"] > 0.9


def test_a_mark_of_a_wrapped_student_counts():
    plain = network(3, scale=4.0)
    student = tfkd.tasks.mark(tfkd.compression.cluster(plain, 4), tfkd.tasks.Regression((3,)))
    assert checked(student, evaluation_data=(X, BRIGHTNESS)).scores.keys() == {"mean_absolute_error", "r2"}


def test_names_are_as_many_as_the_task_has(tmp_path):
    path = tmp_path / "m.tflite"
    for model, task, names in (
        (network(1, "sigmoid"), None, ["no", "yes"]),
        (network(3, "sigmoid"), None, ["red", "green", "blue"]),
        (network(1), "regression", ["age"]),
    ):
        with pytest.raises(ValueError, match=f"`labels` must be {len(names)} names"):
            checked(model, task=task, labels=["a", "b", "c", "d"])
        export.export_tflite(model, path, labels=names, task=task)
        assert export.read_metadata(path)["labels"] == names


def test_a_float_file_that_computes_something_else_is_an_error(tmp_path):
    class Trained(layers.Layer):
        """Computes something else in a file than in `predict`."""

        def call(self, x):
            import tensorflow as tf

            return x + (0.2 if tf.inside_function() and x.shape[0] == 1 else 0.0)

    inputs = keras.Input((12, 12, 3))
    outputs = Trained()(layers.Dense(3)(layers.GlobalAveragePooling2D()(inputs)))
    model = keras.Model(inputs, outputs, name="other")
    path = tmp_path / "m.tflite"
    with pytest.raises(
        RuntimeError, match=r"'other' does not compute the same.*differ by up to 0\.2.*not written"
    ):
        export.export_tflite(model, path, verification_data=X)
    assert not path.exists()
    broken = network(3)
    broken.layers[-1].bias.assign([np.nan] * 3)
    with pytest.raises(RuntimeError, match="NaN or infinite, so the file was not written"):
        checked(broken)


def test_series_and_vectors_need_examples_only_where_ranges_are_taken():
    series = keras.Sequential([keras.Input((32, 3)), layers.Flatten(), layers.Dense(4)])
    for shape in ((32, 3), (7,)):
        model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(4)])
        with pytest.raises(ValueError, match=r"`representative_data` is needed.*cannot make"):
            export.export_tflite(model, None, "int8")
    x = RNG.normal(size=(40, 32, 3))
    assert export.export_tflite(series, None, "float32", verification_data=x).agreement == 1.0
