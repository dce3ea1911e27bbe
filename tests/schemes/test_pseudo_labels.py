"""Pseudo-labels: probabilities and classes, what is left out, classes in balance, what is missing."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tfkd.schemes import pseudo_labels
from tfkd.schemes._pseudo_labels import repetitions

pytestmark = pytest.mark.slow


def echo(bias=(0.0, 0.0, 0.0)):
    """A teacher whose logits are its inputs `(3,)`, and a bias."""
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    model.layers[0].set_weights([np.eye(3, dtype="float32"), np.array(bias, "float32")])
    return model


def logits(*probabilities):
    return np.log(np.array(probabilities, "float32"))


# Three sure of class 0, two of class 1, one barely of class 2.
FEW = logits(
    [0.9, 0.05, 0.05],
    [0.8, 0.1, 0.1],
    [0.1, 0.6, 0.3],
    [0.7, 0.2, 0.1],
    [0.05, 0.9, 0.05],
    [0.3, 0.3005, 0.3995],
)


def collected(dataset):
    x, y = zip(*dataset.as_numpy_iterator(), strict=True)
    return np.stack(x), np.stack(y)


@pytest.mark.parametrize("form", ["array", "batches", "single", "with labels"])
def test_soft_labels_are_the_teachers_probabilities(form):
    data = {
        "array": FEW,
        "batches": tf.data.Dataset.from_tensor_slices(FEW).batch(4),
        "single": tf.data.Dataset.from_tensor_slices(FEW),
        "with labels": tf.data.Dataset.from_tensor_slices((FEW, np.zeros(6))).batch(5),
    }[form]
    labelled = pseudo_labels(echo(), data, batched=form != "single")
    x, y = collected(labelled)
    np.testing.assert_array_equal(x, FEW)
    np.testing.assert_allclose(y, np.exp(FEW), rtol=1e-5)
    assert len(labelled) == 6 and y.dtype == np.float32


def test_hard_labels_of_sure_answers():
    _, y = collected(pseudo_labels(echo(), FEW, hard=True, least=0.35))
    np.testing.assert_array_equal(y, np.eye(3)[[0, 0, 1, 0, 1, 2]])


@pytest.mark.filterwarnings("ignore:Pseudo-labels of each class")
def test_what_is_unsure_is_left_out():
    x, _ = collected(pseudo_labels(echo(), FEW, least=0.75))
    np.testing.assert_array_equal(x, FEW[[0, 1, 4]])


def test_classes_in_balance_by_selection_and_repetition():
    confidence = np.exp(FEW).max(-1)
    groups = FEW.argmax(-1)
    # The two surest of class 0, both of class 1, the only one of class 2 twice.
    np.testing.assert_array_equal(repetitions(confidence, groups, 3, None, 2), [1, 1, 1, 0, 1, 2])
    np.testing.assert_array_equal(repetitions(confidence, groups, 3, None, 5), [2, 2, 2, 1, 3, 5])
    labelled = pseudo_labels(echo(), FEW, per_class=5, hard=True)
    x, y = collected(labelled)
    np.testing.assert_array_equal(y.sum(0), [5, 5, 5])
    np.testing.assert_array_equal(x, FEW[np.repeat(np.arange(6), [2, 2, 2, 1, 3, 5])])
    assert len(labelled) == 15


def test_independent_labels_are_probabilities():
    teacher = echo()
    _, y = collected(pseudo_labels(teacher, FEW, task="multi_label"))
    np.testing.assert_allclose(y, 1 / (1 + np.exp(-FEW)), rtol=1e-5)
    with pytest.raises(ValueError, match="Use hard=False"):
        pseudo_labels(teacher, FEW, hard=True, task="multi_label")


def test_the_teacher_runs_without_noise_once_and_its_answers_are_kept(tmp_path):
    inputs = keras.Input((3,))
    teacher = keras.Model(inputs, layers.Dense(3, name="out")(layers.Dropout(0.5)(inputs)))
    first = collected(pseudo_labels(teacher, FEW, path=tmp_path))[1]
    written = (tmp_path / "00000.npz").stat().st_mtime_ns
    again = collected(pseudo_labels(teacher, FEW, path=tmp_path))[1]
    np.testing.assert_array_equal(first, again)
    assert (tmp_path / "00000.npz").stat().st_mtime_ns == written
    np.testing.assert_allclose(first, keras.ops.softmax(teacher(FEW)), rtol=1e-5)


def test_a_class_without_sure_labels_and_the_remedies():
    with pytest.raises(ValueError, match=r"for class 2 \(at most 0.399\). Lower `least` to 0.399"):
        pseudo_labels(echo(), FEW, least=0.5, per_class=2)
    assert len(pseudo_labels(echo(), FEW, least=0.399, per_class=2)) == 6
    with pytest.warns(UserWarning, match=r"each class: \[3, 2, 0\].*Lower `least` to 0.399"):
        assert len(pseudo_labels(echo(), FEW, least=0.5)) == 5
    with pytest.raises(
        ValueError, match=r"classifies no input as class 2\. Give such inputs, or per_class=None"
    ):
        pseudo_labels(echo(), FEW[:5], per_class=2)
    with pytest.warns(UserWarning, match="classifies no input as class 2"):
        assert len(pseudo_labels(echo(), FEW[:5])) == 5
    with pytest.raises(ValueError, match=r"never that confident.*0.9"):
        pseudo_labels(echo(), FEW, least=0.99)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": FEW[:0]}, "`dataset` is empty"),
        ({"dataset": tf.data.Dataset.from_tensor_slices(FEW).take(0).batch(2)}, "`dataset` is empty"),
        ({"dataset": None}, "`dataset` is empty"),
        ({"least": 1.5}, "`least` must be between 0 and 1"),
        ({"per_class": 0}, "`per_class` must be an integer of at least 1"),
        ({"task": "regression"}, "whose outputs name classes"),
    ],
)
def test_bad_pseudo_labels(options, message):
    with pytest.raises(ValueError, match=message):
        pseudo_labels(echo(), **{"dataset": FEW, **options})
