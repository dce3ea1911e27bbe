"""Teachers and students that read ids of different tokenizers, or texts of different lengths."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tfkd
from tests.distilling.token_models import (
    LABELS,
    LONGEST,
    VOCABULARY,
    bert_classifier,
    bert_tagger,
    distil_bert_classifier,
    keras_masks_tagger,
    sentences,
    subclassed_tagger,
)
from tfkd import losses
from tfkd._core.token_marks import mark_tokenizer
from tfkd.distilling._token_tables import token_tables


def own_classifier(vocabulary=VOCABULARY, longest=20, name=None):
    """Ids alone, with a table of positions and one that ids do not come to as they are."""
    ids = keras.Input((None,), dtype="int32", name=name)
    positions = layers.Embedding(longest, 4)(ops.cumsum(ops.ones_like(ids), axis=1) - 1)
    hashed = layers.Embedding(7, 4)(ids % 7)
    x = layers.Embedding(vocabulary, 4)(ids) + positions + hashed
    return keras.Model(ids, layers.Dense(LABELS)(ops.mean(x, axis=1)))


class Bag(keras.Model):
    """A model without a graph."""

    def __init__(self, vocabulary, **kwargs):
        super().__init__(**kwargs)
        self.table, self.head = layers.Embedding(vocabulary, 4), layers.Dense(LABELS)

    def call(self, inputs):
        return self.head(ops.mean(self.table(inputs), axis=1))


def bag(vocabulary):
    model = Bag(vocabulary)
    model(np.ones((1, 4), "int32"))
    return model


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (bert_classifier, ("token_ids", VOCABULARY, LONGEST)),
        (distil_bert_classifier, ("token_ids", VOCABULARY, LONGEST)),
        (subclassed_tagger, ("token_ids", VOCABULARY, LONGEST)),
        (keras_masks_tagger, (None, VOCABULARY, None)),
        (own_classifier, (None, VOCABULARY, 20)),
        (lambda: bag(30), (None, 30, None)),
    ],
)
def test_what_models_read(make, expected):
    assert token_tables(make()) == expected


def test_what_reads_no_ids():
    inputs = keras.Input((5,))
    assert token_tables(keras.Model(inputs, layers.Dense(2)(inputs))) == (None, None, None)


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        (bert_classifier, lambda: distil_bert_classifier(vocabulary_size=40)),
        (bert_tagger, lambda: bert_tagger(vocabulary_size=51)),
        (bert_classifier, lambda: own_classifier(40, name="token_ids")),
        (own_classifier, lambda: own_classifier(40)),
        (own_classifier, lambda: bag(40)),
    ],
)
def test_other_vocabularies_are_refused(teacher, student):
    with pytest.raises(ValueError, match=r"takes \d+ different ids instead of 50 .*from_layers"):
        tfkd.Distiller(teacher(), student(), losses.SoftTargets())


def test_students_that_teach_each_other_read_the_same_ids():
    students = [own_classifier(), own_classifier(40)]
    with pytest.raises(ValueError, match=r"\d+ different ids instead of"):
        tfkd.schemes.MutualDistiller(students)


def test_other_tokenizers_are_refused_and_one_may_have_rows_to_spare():
    teacher, student = bert_classifier(), distil_bert_classifier()
    mark_tokenizer(teacher, "abc")
    mark_tokenizer(student, "xyz")
    with pytest.raises(ValueError, match=r"tokenizer xyz instead of abc.*one tokenizer"):
        tfkd.Distiller(teacher, student, losses.SoftTargets())
    student = mark_tokenizer(distil_bert_classifier(vocabulary_size=56), "abc")
    assert tfkd.Distiller(teacher, student, losses.SoftTargets())


def test_ids_of_another_tokenizer_may_come_from_another_input():
    """As the message says."""
    words = keras.Input((None,), dtype="int32", name="words")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = ops.mean(layers.Embedding(400, 4)(words), axis=1)
    student = keras.Model({"words": words, "padding_mask": mask}, layers.Dense(LABELS)(x))
    distiller = tfkd.Distiller(bert_classifier(), student, losses.SoftTargets(), student_loss_weight=0.0)
    distiller.compile("sgd", run_eagerly=True)
    x = sentences()
    assert distiller.evaluate({**x, "words": x["token_ids"] + 300}, verbose=0, return_dict=True)["loss"] > 0


def test_a_student_of_shorter_texts_is_refused_and_one_of_longer_texts_is_not():
    teacher, student = bert_classifier(), distil_bert_classifier(max_sequence_length=6)
    with pytest.raises(ValueError, match=r"6 positions.*has 12.*Build it with 12"):
        tfkd.Distiller(teacher, student, losses.SoftTargets())
    for length in (12, 16):
        tfkd.Distiller(teacher, distil_bert_classifier(max_sequence_length=length), losses.SoftTargets())
