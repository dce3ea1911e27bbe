"""The task of a teacher: found from its ending, said aloud, overridden, and kept in files."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from tests.tasks.mine import Maps
from tests.teachers.test_loading import load_quietly
from tfkd.tasks import marked_task, task_of
from tfkd.teachers import TaskWarning

X = np.random.default_rng(0).uniform(size=(40, 6)).astype("float32")


def network(units, activation=None, last=None):
    """A network of vectors, about whose scale nothing is known."""
    inputs = keras.Input((6,))
    x = layers.Dense(units, activation=activation)(inputs)
    model = keras.Model(inputs, x if last is None else last(x), name="net")
    model.layers[1].kernel.assign(2 * np.random.default_rng(1).normal(size=(6, units)))
    return model


def logits_of(model):
    """What a network computes before its last activation."""
    return X @ model.layers[1].kernel.numpy() + model.layers[1].bias.numpy()


def silently(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return tfkd.load_teacher(*args, **kwargs)


@pytest.mark.parametrize("activation", ["softmax", None, "relu"])
def test_classes_need_no_word(activation):
    model = network(5, activation)
    teacher = silently(model)
    assert repr(task_of(teacher)) == "Classification((5,))"
    z = logits_of(model)
    expected = {"softmax": z, None: z, "relu": np.maximum(z, 0)}[activation]
    np.testing.assert_allclose(teacher(X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("last", [None, ops.sigmoid, layers.Activation("sigmoid")])
@pytest.mark.parametrize("units", [2, 5])
def test_several_sigmoids_are_labels_and_this_is_said(units, last):
    model = network(units, "sigmoid" if last is None else None, last)
    with pytest.warns(TaskWarning, match=rf"'net' ends in {units} sigmoid.*{units} independent.*--task"):
        teacher = tfkd.load_teacher(model)
    assert repr(task_of(teacher)) == f"MultiLabel(({units},))"
    np.testing.assert_allclose(teacher(X), logits_of(model), rtol=1e-4, atol=1e-5)


def test_one_sigmoid_is_a_binary_classifier_and_this_is_said():
    model = network(1, "sigmoid")
    with pytest.warns(TaskWarning, match=r"one sigmoid unit.*two classes.*'multi_label' to keep"):
        teacher = tfkd.load_teacher(model)
    assert repr(task_of(teacher)) == "Classification((2,))"
    z = logits_of(model)
    np.testing.assert_allclose(teacher(X), np.concatenate([0 * z, z], -1), rtol=1e-4, atol=1e-5)


def test_one_linear_output_is_a_number_and_this_is_said():
    model = network(1)
    with pytest.warns(TaskWarning, match=r"treated as a number.*task='classification'"):
        teacher = tfkd.load_teacher(model)
    assert repr(task_of(teacher)) == "Regression((1,))"
    np.testing.assert_allclose(teacher(X), model(X), rtol=1e-4)


@pytest.mark.parametrize(
    ("units", "activation", "task", "expected", "read"),
    [
        # Remedies of the warnings, and what may be said without one.
        (5, "sigmoid", "classification", "Classification((5,))", lambda z: z),
        (5, "sigmoid", tfkd.tasks.MultiLabel, "MultiLabel((5,))", lambda z: z),
        (1, "sigmoid", "classification", "Classification((2,))", lambda z: np.pad(z, ((0, 0), (1, 0)))),
        (1, "sigmoid", "multi_label", "MultiLabel((1,))", lambda z: z),
        (1, None, "classification", "Classification((2,))", lambda z: np.pad(z, ((0, 0), (1, 0)))),
        (1, None, "regression", "Regression((1,))", lambda z: z),
        (5, None, tfkd.tasks.MultiLabel((5,)), "MultiLabel((5,))", lambda z: z),
        (5, None, "regression", "Regression((5,))", lambda z: z),
        # Nothing is taken off what are numbers.
        (5, "sigmoid", "regression", "Regression((5,))", lambda z: 1 / (1 + np.exp(-z))),
        (1, "sigmoid", "regression", "Regression((1,))", lambda z: 1 / (1 + np.exp(-z))),
    ],
)
def test_a_task_that_is_said_needs_no_word(units, activation, task, expected, read):
    model = network(units, activation)
    teacher = silently(model, task=task)
    assert repr(task_of(teacher)) == expected
    np.testing.assert_allclose(teacher(X), read(logits_of(model)), rtol=1e-4, atol=1e-5)


def test_from_logits_says_that_one_output_is_a_class():
    z = logits_of(network(1))
    for model, from_logits in ((network(1), True), (network(1, "sigmoid"), False)):
        teacher = silently(model, from_logits=from_logits)
        assert repr(task_of(teacher)) == "Classification((2,))"
        np.testing.assert_allclose(teacher(X)[:, 1:], z, rtol=1e-3, atol=1e-4)
    # Sigmoids stay where the user says that they are logits.
    model = network(5, "sigmoid")
    np.testing.assert_allclose(silently(model, from_logits=True)(X), model(X), rtol=1e-5)
    with pytest.raises(ValueError, match=r"`from_logits` has no effect on task 'regression'.*Leave it out"):
        tfkd.load_teacher(model, from_logits=True, task="regression")


def test_a_task_that_does_not_fit_is_refused_and_its_remedy_works():
    model = network(5, "softmax")
    with pytest.raises(ValueError, match=r"'net' ends in a softmax. Tasks that fit: classification"):
        tfkd.load_teacher(model, task="multi_label")
    assert silently(model, task="classification").output_shape == (None, 5)
    with pytest.raises(ValueError, match=r"MultiLabel\(\(4,\)\) does not fit.*Give the class, MultiLabel"):
        tfkd.load_teacher(network(5), task=tfkd.tasks.MultiLabel((4,)))
    assert silently(network(5), task=tfkd.tasks.MultiLabel).output_shape == (None, 5)
    with pytest.raises(ValueError, match="Did you mean 'regression'"):
        tfkd.load_teacher(model, task="regresion")
    with pytest.raises(TypeError, match="`task` must be a name"):
        tfkd.load_teacher(model, task=5)


class Custom(layers.Layer):
    """Hides which activation it computes."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "units", "expected"),
    [
        (ops.sigmoid, 5, "MultiLabel((5,))"),
        (ops.sigmoid, 1, "Classification((2,))"),
        (ops.softmax, 5, "Classification((5,))"),
    ],
)
def test_endings_that_only_answers_show(function, units, expected):
    model = network(units, None, Custom(function))
    teacher = load_quietly(model)
    assert repr(task_of(teacher)) == expected
    restored = {5: function, 1: lambda z: ops.softmax(z)[:, 1:]}[units](teacher(X))
    np.testing.assert_allclose(restored, model(X), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("units", "activation", "task"),
    [
        (5, "sigmoid", "multi_label"),
        (3, None, "regression"),
        (1, None, "regression"),
        (4, None, "classification"),
    ],
)
def test_files_of_teachers_say_their_task(units, activation, task, ending, tmp_path):
    teacher = silently(network(units, activation), task=task)
    path = tmp_path / f"teacher{ending}"
    teacher.save(path)
    assert repr(task_of(keras.models.load_model(path))) == repr(task_of(teacher))
    again = load_quietly(path)
    assert repr(task_of(again)) == repr(task_of(teacher))
    np.testing.assert_allclose(again(X), teacher(X), rtol=1e-5)
    # Losses go by the mark alone, so that nothing is taken for numbers unless somebody said so.
    assert (marked_task(keras.models.load_model(path)) is None) == (task == "classification")
    other = {"multi_label": "classification", "classification": "multi_label"}.get(task, "regression")
    overridden = silently(path, task=other)
    assert task_of(overridden).name == other
    overridden.save(path)
    assert task_of(keras.models.load_model(path)).name == other


def test_students_made_from_a_teacher_know_its_task():
    images = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.Flatten(),
            layers.Dense(3, activation="sigmoid"),
        ]
    )
    student = tfkd.students.scale_width(load_quietly(images), 0.5)
    assert repr(task_of(student)) == "MultiLabel((3,))"


def maps(activation=None, reshaped=False):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(3, 3, padding="same", activation=activation)(inputs)
    x = layers.Reshape((4, 16, 3))(layers.Softmax()(x)) if reshaped else x
    return keras.Model(inputs, x, name="maps")


def test_maps_and_sequences_need_a_task_of_their_own():
    message = r"\(None, 8, 8, 3\) cannot be inferred.*classification, .*multi_label, .*subclass"
    with pytest.raises(ValueError, match=message):
        tfkd.load_teacher(maps())
    for task in tfkd.tasks.known_tasks().keys() - {"segmentation"}:
        with pytest.raises(
            ValueError, match=r"returns \(batch, .*Received: output shape \(None, 8, 8, 3\)"
        ):
            tfkd.load_teacher(maps(), task=task)


@pytest.mark.parametrize(("activation", "reshaped"), [(None, False), ("softmax", False), (None, True)])
def test_a_task_of_ones_own_has_outputs_of_any_shape(activation, reshaped):
    model, x = maps(activation, reshaped), np.random.default_rng(0).uniform(size=(5, 8, 8, 1))
    teacher = silently(model, task=Maps)
    assert isinstance(task_of(teacher), Maps) and teacher.output_shape == model.output_shape
    expected = model(x)
    outputs = teacher(x) if activation is None and not reshaped else ops.softmax(teacher(x))
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-6)
    if activation or reshaped:
        assert np.abs(np.sum(teacher(x), -1) - 1).max() > 0.1


@pytest.mark.parametrize(
    "shape",
    [(7,), (20, 3), (16, 5, 2), (12, 12, 3), (6, 6, 4, 2)],
    ids=["vector", "series", "spectrogram", "image", "volume"],
)
def test_inputs_of_any_rank(shape, tmp_path):
    model = keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(4, activation="softmax")])
    mean, std = np.linspace(-1, 1, shape[-1]), np.linspace(1, 2, shape[-1])
    teacher = load_quietly(model, mean=mean, std=std)
    assert teacher.input_shape == (None, *shape)
    x = np.random.default_rng(0).normal(size=(6, *shape)).astype("float32")
    expected = model((x - mean) / std)
    np.testing.assert_allclose(ops.softmax(teacher(x)), expected, rtol=1e-3, atol=1e-6)
    teacher.save(tmp_path / "teacher.keras")
    again = keras.models.load_model(tmp_path / "teacher.keras")
    np.testing.assert_allclose(again(x), teacher(x), rtol=1e-5)
    box = tfkd.BlackBoxTeacher(lambda x: model(x).numpy(), shape, 4)
    np.testing.assert_allclose(ops.softmax(box(x)), model(x), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"`mean` must be a number, one per channel \(the last axis\)"):
        tfkd.load_teacher(model, mean=[0.0] * (shape[-1] + 1))


def test_only_images_have_a_scale_that_can_be_wrong():
    silently(keras.Sequential([keras.Input((7,)), layers.Dense(4)]))
    broken = keras.Sequential([keras.Input((7,)), layers.Dense(4, kernel_initializer=nothing_but_nan)])
    with pytest.raises(ValueError, match="outputs for synthetic inputs are NaN"):
        tfkd.load_teacher(broken)


def nothing_but_nan(shape, dtype=None):
    return np.full(shape, np.nan)


def test_the_old_keyword_works_for_a_version(tmp_path):
    network(5).save(tmp_path / "net.keras")
    with pytest.warns(DeprecationWarning, match="`path` of load_teacher is now called `source`"):
        teacher = tfkd.load_teacher(path=tmp_path / "net.keras", task="regression")
    assert repr(task_of(teacher)) == "Regression((5,))"
    with pytest.warns(DeprecationWarning), pytest.raises(TypeError, match="both `source` and its old name"):
        tfkd.load_teacher(source="a", path="b")
    with pytest.warns(DeprecationWarning, match=r"suspicion is now called tfkd.teachers.diagnose"):
        assert tfkd.teachers.suspicion is tfkd.teachers.diagnose


# Files that only answer.


def tflite(model, path, quantization="float32"):
    x = np.random.default_rng(0).uniform(size=(40, *model.input_shape[1:]))
    task = Maps if len(model.output_shape) == 4 else None
    tfkd.export.export_tflite(model, path, quantization, x, task=task)
    return path


def exported(model, path):
    model.export(path, verbose=False)
    return path


@pytest.fixture(params=["tflite", "saved"])
def written(request, tmp_path, monkeypatch):
    """Writes a network in a format that only answers, and is not rebuilt here."""
    monkeypatch.setattr("tfkd.teachers._formats.rebuilt", lambda file, *_: file)
    writer = {"tflite": tflite, "saved": exported}[request.param]
    return lambda model: writer(model, tmp_path / f"model.{request.param}")


def test_labels_of_a_file(written):
    model = network(5, "sigmoid")
    path = written(model)
    with pytest.warns(TaskWarning, match="5 independent labels"):
        teacher = tfkd.load_teacher(path)
    assert teacher.black_box and repr(task_of(teacher)) == "MultiLabel((5,))"
    np.testing.assert_allclose(teacher(X), logits_of(model), rtol=1e-3, atol=1e-3)
    as_classes = silently(path, task="classification")
    assert repr(task_of(as_classes)) == "Classification((5,))"
    np.testing.assert_allclose(as_classes(X), logits_of(model), rtol=1e-3, atol=1e-3)


def test_numbers_of_a_file(written):
    model = network(1)
    path = written(model)
    with pytest.raises(ValueError, match=r"has one output.*task='regression'.*from_logits=True"):
        tfkd.load_teacher(path)
    teacher = silently(path, task="regression", mean=0.5, std=2.0)
    assert repr(task_of(teacher)) == "Regression((1,))" and teacher.output_shape == (None, 1)
    np.testing.assert_allclose(teacher(X), model((X - 0.5) / 2), rtol=1e-3, atol=1e-4)
    several = silently(written(network(3)), task="regression")
    assert repr(task_of(several)) == "Regression((3,))"


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_a_binary_classifier_of_a_file(written, activation):
    path, z = written(network(1, activation)), logits_of(network(1))
    for said in ({"task": "classification"}, {"from_logits": activation is None}):
        logits = silently(path, **said)(X)
        np.testing.assert_allclose(logits[:, 1:] - logits[:, :1], z, rtol=1e-3, atol=1e-3)
    one = silently(path, task="multi_label")
    assert repr(task_of(one)) == "MultiLabel((1,))"
    np.testing.assert_allclose(one(X), z, rtol=1e-3, atol=1e-3)


def test_rounded_labels_of_an_integer_file(tmp_path):
    """A probability is a multiple of 1/256 there, and none of them is thought certain."""
    model = network(5, "sigmoid")
    teacher = silently(tflite(model, tmp_path / "m.tflite", "int8"), task="multi_label")
    logits = teacher(X).numpy()
    assert np.abs(logits).max() < np.log(4 * 256) + 0.01
    assert np.abs(1 / (1 + np.exp(-logits)) - model(X)).max() < 0.05


def test_maps_of_a_file(written):
    model, x = maps("softmax"), np.random.default_rng(0).uniform(size=(5, 8, 8, 1)).astype("float32")
    teacher = silently(written(model), task=Maps)
    assert teacher.output_shape == (None, 8, 8, 3) and isinstance(task_of(teacher), Maps)
    np.testing.assert_allclose(ops.softmax(teacher(x)), model(x), rtol=1e-3, atol=1e-5)


def test_black_boxes_of_every_task():
    z = logits_of(network(3)).astype("float32")
    lookup = {row.tobytes(): i for i, row in enumerate(X)}

    def answers(values):
        return lambda x: values[[lookup[row.tobytes()] for row in x]]

    labels = tfkd.BlackBoxTeacher(answers(1 / (1 + np.exp(-z))), (6,), 3, task="multi_label")
    np.testing.assert_allclose(labels(X), z, rtol=1e-3, atol=1e-3)
    assert repr(task_of(labels)) == "MultiLabel((3,))" and labels.classes == 3
    certain = tfkd.BlackBoxTeacher(answers(np.eye(3)[[0] * 40]), (6,), 3, task="multi_label")
    np.testing.assert_allclose(certain(X)[0], np.log(1e-7) * np.array([-1, 1, 1]), rtol=1e-4)
    for from_logits in (False, True):
        numbers = tfkd.BlackBoxTeacher(answers(z), (6,), 3, from_logits, task="regression")
        np.testing.assert_allclose(numbers(X), z)
    one = tfkd.BlackBoxTeacher(answers(z[:, :1]), (6,), 1, task="regression")
    assert one.output_shape == (None, 1)
    with pytest.raises(
        ValueError, match=r"must return probabilities, values from 0 to 1\..*from_logits=True"
    ):
        tfkd.BlackBoxTeacher(answers(z), (6,), 3, task="multi_label")(X)
    with pytest.raises(ValueError, match=r"`classes` must fit the `task`.*at least two"):
        tfkd.BlackBoxTeacher(answers(z), (6,), 1)
