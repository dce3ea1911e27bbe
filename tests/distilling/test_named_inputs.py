"""Students that take some of their teacher's inputs, by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.distilling.token_models import (
    LABELS,
    VOCABULARY,
    bert_classifier,
    distil_bert_classifier,
    sentences,
)
from tfkd import losses
from tfkd._core.named_inputs import taken_by

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
KNOWLEDGE = (
    losses.SoftTargets(2.0),
    losses.CosineEmbedding("bert_backbone/transformer_layer_1", "distil_bert_backbone/transformer_layer_1"),
)


def pooled_ids(name="token_ids"):
    """Ids alone, as one input that is not in a dictionary."""
    ids = keras.Input((None,), dtype="int32", name=name)
    x = layers.GlobalAveragePooling1D()(layers.Embedding(VOCABULARY, 8, mask_zero=True)(ids))
    return keras.Model(ids, layers.Dense(LABELS)(x))


def labelled(n=6):
    return sentences(n), np.arange(n) % LABELS


@pytest.mark.parametrize("cached", [False, True])
def test_a_student_without_segments_learns_from_a_teacher_with_them(cached, recwarn):
    teacher, student = bert_classifier(), distil_bert_classifier()
    x, y = labelled()
    alone = {name: x[name] for name in ("token_ids", "padding_mask")}
    before, expected = harness.snapshot(student), student.predict(alone, verbose=0)
    distiller = tfkd.Distiller(teacher, student, list(KNOWLEDGE))
    distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS)
    np.testing.assert_allclose(distiller.predict(x, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(distiller(x), expected, rtol=1e-5)
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
    plain = distiller.evaluate(data, verbose=0, return_dict=True)
    if cached:
        data = tfkd.cache_teacher(data, teacher, taps=["bert_backbone/transformer_layer_1"])
        again = distiller.evaluate(data, verbose=0, return_dict=True)
        assert again == pytest.approx(plain, rel=1e-5)
    distiller.fit(data, verbose=0)
    harness.assert_other_weights(before, student.weights)
    assert not [each for each in recwarn if "structure" in str(each.message)]


def test_a_student_of_one_input_takes_it_by_name():
    x, y = labelled()
    student = pooled_ids()
    distiller = tfkd.Distiller(bert_classifier(), student, losses.SoftTargets())
    distiller.compile("sgd", LABELS_LOSS)
    distiller.fit(x, y, verbose=0)
    np.testing.assert_allclose(
        distiller.predict(x, verbose=0), student.predict(x["token_ids"], verbose=0), rtol=1e-5
    )


def test_networks_that_teach_each_other_take_their_inputs_by_name():
    students = [bert_classifier(), distil_bert_classifier()]
    distiller = tfkd.schemes.MutualDistiller(students)
    distiller.compile("sgd", LABELS_LOSS)
    x, y = labelled()
    distiller.fit(x, y, verbose=0)
    alone = {name: x[name] for name in ("token_ids", "padding_mask")}
    mean = (students[0].predict(x, verbose=0) + students[1].predict(alone, verbose=0)) / 2
    np.testing.assert_allclose(distiller.predict(x, verbose=0), mean, rtol=1e-5)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match=r"by name.*'padding_mask'.*\['words'\].*names as the teacher's"):
        tfkd.Distiller(bert_classifier(), pooled_ids("words"), losses.SoftTargets())


def test_shared_inputs_of_other_shapes_are_refused():
    ids = keras.Input((5, 2), name="token_ids")
    student = keras.Model({"token_ids": ids}, layers.Dense(LABELS)(layers.Flatten()(ids)))
    with pytest.raises(ValueError, match=r"input 'token_ids' shape.*\(None, None\).*\(None, 5, 2\)"):
        tfkd.Distiller(bert_classifier(), student, losses.SoftTargets())


def test_data_without_an_input_are_refused():
    x, y = labelled()
    del x["segment_ids"]
    distiller = tfkd.Distiller(bert_classifier(), distil_bert_classifier(), losses.SoftTargets())
    distiller.compile("sgd", LABELS_LOSS, run_eagerly=True)
    with pytest.raises(ValueError, match=r"lacks \['segment_ids'\].*keras.Input"):
        distiller.fit(x, y, verbose=0)


def test_inputs_come_in_the_structure_that_a_model_was_built_with():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b", optional=True)
    values = {"b": 2, "a": 1, "c": 3}
    assert taken_by(keras.Model({"a": a, "b": b}, a + b[:, :2]), values) == {"a": 1, "b": 2}
    assert taken_by(keras.Model([b, a], a + b[:, :2]), values) == [2, 1]
    assert taken_by(keras.Model([a, b], a + b[:, :2]), {"a": 1}) == [1, None]
    assert taken_by(keras.Model(a, a + 1), values) == 1
    assert taken_by(keras.Sequential([keras.Input((2,), name="a"), layers.Dense(1)]), values) == 1
    assert taken_by(keras.Model(a, a + 1), 5) == 5
    nested = {"first": {"a": 1}, "b": 2}
    assert taken_by(keras.Model({"first": {"a": a}, "b": b}, a + b[:, :2]), nested) is nested
