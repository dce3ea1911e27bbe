"""Which task a network has, and how its outputs are read."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.tasks.mine import Maps
from tfkd import tasks
from tfkd.tasks import Classification, MultiLabel, Regression

X = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")


def network(units, activation=None, last=None):
    inputs = keras.Input((6,))
    outputs = layers.Dense(units, activation=activation)(inputs)
    return keras.Model(inputs, outputs if last is None else last(outputs), name="net")


def maps(activation=None):
    inputs = keras.Input((4, 4, 2))
    return keras.Model(inputs, layers.Dense(3, activation=activation)(inputs), name="maps")


def test_the_registry_has_all_tasks_by_name():
    first = {"classification": Classification, "multi_label": MultiLabel, "regression": Regression}
    assert first.items() <= tasks.known_tasks().items()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (network(5), "Classification((5,))"),
        (network(5, "softmax"), "Classification((5,))"),
        (network(5, "relu"), "Classification((5,))"),
        (network(1), "Regression((1,))"),
        (network(1, "tanh"), "Regression((1,))"),
    ],
)
def test_by_the_ending(model, expected):
    assert repr(tasks.task_of(model)) == expected


@pytest.mark.parametrize("units", [1, 5])
def test_probabilities_of_sigmoids_are_not_taken_for_logits(units):
    with pytest.raises(ValueError, match=r"'net' ends in a sigmoid.*load_teacher"):
        tasks.task_of(network(units, "sigmoid"))


def test_a_mark_counts_more_than_the_ending():
    model = network(5)
    assert tasks.mark(model, MultiLabel((5,))) is model
    assert repr(tasks.task_of(model)) == "MultiLabel((5,))"


def test_what_no_task_has_needs_one():
    with pytest.raises(
        ValueError, match=r"`task` is needed.*\(None, 4, 4, 3\).*classification, .*multi_label.*subclass"
    ):
        tasks.task_of(maps())
    marked = tasks.mark(maps(), Maps((4, 4, 3)))
    assert isinstance(tasks.task_of(marked), Maps)


def test_several_outputs_are_refused():
    inputs = keras.Input((6,))
    ends = {"a": layers.Dense(2)(inputs), "b": layers.Dense(3)(inputs)}
    for outputs in (ends, list(ends.values())):
        with pytest.raises(ValueError, match=r"must have one output.*load_teacher"):
            tasks.task_of(keras.Model(inputs, outputs))


def test_by_name_class_and_object():
    for task in ("multi_label", MultiLabel, MultiLabel((5,))):
        assert repr(tasks.as_task(task, (5,))) == "MultiLabel((5,))"
    with pytest.raises(ValueError, match=r"'multilabel'. Did you mean 'multi_label'"):
        tasks.as_task("multilabel", (5,))
    for wrong in (3, keras.Model, None):
        with pytest.raises(TypeError, match="`task` must be a name"):
            tasks.as_task(wrong, (5,))
    with pytest.raises(ValueError, match=r"MultiLabel\(\(5,\)\) does not fit.*\(4,\).*MultiLabel,"):
        tasks.as_task(MultiLabel((5,)), (4,))


def reading(model, task=None):
    return tasks.reading_of(model, task, lambda: np.asarray(model(X)))


@pytest.mark.parametrize(
    ("activation", "last"),
    [
        ("softmax", None),
        (None, layers.Softmax()),
        (None, ops.softmax),
        ("softmax", layers.Activation("linear", dtype="float32")),
        (None, lambda x: layers.Reshape((5,))(layers.Softmax()(layers.Reshape((1, 5))(x)))),
    ],
)
def test_softmax_is_read_as_logits(activation, last):
    model = network(5, activation, last)
    found = reading(model)
    assert repr(found.task) == "Classification((5,))" and found.activation == "softmax"
    p = np.asarray(model(X))
    np.testing.assert_allclose(found(p), np.log(p), rtol=1e-5)


@pytest.mark.parametrize("last", [layers.Activation("sigmoid"), ops.sigmoid])
def test_sigmoids_are_read_as_logits(last):
    found = reading(network(5, None, last))
    assert repr(found.task) == "MultiLabel((5,))"
    z = np.linspace(-12, 12, 10, dtype="float32").reshape(2, 5)
    np.testing.assert_allclose(found(1 / (1 + np.exp(-z))), z, atol=0.02)
    assert np.isfinite(found(np.array([[0.0, 1.0, 0.5, 0.5, 0.5]]))).all()


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output_of_a_binary_classifier_is_read_as_two_logits(activation):
    found = reading(network(1, activation), "classification")
    assert repr(found.task) == "Classification((2,))"
    z = np.array([[-2.0], [3.0]], "float32")
    outputs = z if activation is None else 1 / (1 + np.exp(-z))
    np.testing.assert_allclose(found(outputs), [[0, -2], [0, 3]], atol=1e-5)


def test_numbers_are_read_as_they_stand():
    for model in (network(1), network(3, "sigmoid")):
        found = reading(model, "regression")
        np.testing.assert_array_equal(found(X[:, :3]), X[:, :3])


class Custom(layers.Layer):
    """Hides which activation it computes."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("function", "units", "expected"),
    [
        (ops.softmax, 5, ("Classification((5,))", "softmax")),
        (ops.sigmoid, 5, ("MultiLabel((5,))", "sigmoid")),
        (ops.sigmoid, 1, ("Classification((2,))", "sigmoid")),
        (ops.tanh, 5, ("Classification((5,))", None)),
        (ops.tanh, 1, ("Regression((1,))", None)),
    ],
)
def test_hidden_endings_show_in_the_answers(function, units, expected):
    found = reading(network(units, None, Custom(function)))
    assert (repr(found.task), found.activation) == expected


def test_an_ending_that_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"MultiLabel.*input of a sigmoid, but 'net' ends in a softmax.*classification"
    ):
        reading(network(5, "softmax"), "multi_label")
    with pytest.raises(ValueError, match=r"Maps.*input of a softmax, but 'maps' ends in a sigmoid"):
        tasks.reading_of(maps("sigmoid"), Maps, lambda: None)
