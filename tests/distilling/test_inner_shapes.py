"""Projectors behind inner layers of transformers are there before the first step, and in files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.distilling import token_models
from tests.distilling.token_models import LABELS, TAGGERS, sentences
from tfkd import losses

LAYER = "bert_backbone/transformer_layer_1"
LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def narrow_tagger():
    """A student of another width."""
    return token_models.bert_tagger(hidden_dim=8)


def data():
    x = sentences()
    y = np.random.default_rng(2).integers(0, LABELS, x["token_ids"].shape)
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(3)


def in_a_distiller(teacher, student, suffix):
    loss = losses.Hint(LAYER + suffix, LAYER + suffix, projector=True)
    distiller = tfkd.Distiller(teacher, student, [loss])
    distiller.compile(keras.optimizers.Adam(0.01), LABELS_LOSS, run_eagerly=True)
    return distiller


@pytest.mark.parametrize("suffix", ["", ":values", "/feedforward_intermediate_dense"])
@pytest.mark.parametrize("make", [TAGGERS["functional"][0], TAGGERS["subclassed"][0]])
def test_projectors_are_there_at_once(make, suffix):
    teacher, student = make(), narrow_tagger()
    widths = [
        tfkd.distilling.forward_pass(model, [LAYER + suffix], sentences(1), False)
        .features[LAYER + suffix]
        .shape[-1]
        for model in (teacher, student)
    ]
    distiller = in_a_distiller(teacher, student, suffix)
    [loss] = distiller.distillation_losses
    assert loss.built and tuple(loss.projectors[0].kernel.shape[-2:]) == (widths[1], widths[0])


@pytest.mark.parametrize("suffix", ["", ":values"])
def test_a_loaded_distiller_is_complete_and_trains_on(suffix, tmp_path):
    teacher = token_models.bert_tagger()
    distiller = in_a_distiller(teacher, narrow_tagger(), suffix)
    distiller.fit(data(), verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    weights = distiller.distillation_losses[0].get_weights()
    assert weights
    for mine, theirs in zip(weights, loaded.distillation_losses[0].get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    loaded.teacher = teacher
    for each in (distiller, loaded):
        each.fit(data(), verbose=0)
    for mine, theirs in zip(distiller.trainable_variables, loaded.trainable_variables, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-7, err_msg=mine.path)


def test_weights_resume_before_the_first_step(tmp_path):
    teacher = token_models.bert_tagger()
    distiller = in_a_distiller(teacher, narrow_tagger(), "")
    distiller.fit(data(), verbose=0)
    distiller.save_weights(tmp_path / "run.weights.h5")
    other = in_a_distiller(teacher, narrow_tagger(), "")
    other.load_weights(tmp_path / "run.weights.h5")
    for each in (distiller, other):
        each.fit(data(), verbose=0)
    for mine, theirs in zip(distiller.trainable_variables, other.trainable_variables, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-7, err_msg=mine.path)


def test_attention_scores_of_a_subclassed_student():
    tap = f"{LAYER}/self_attention_layer"
    distiller = tfkd.Distiller(
        token_models.bert_tagger(),
        token_models.subclassed_tagger(),
        losses.AttentionScores(tap, tap),
        student_loss_weight=0.0,
    )
    distiller.compile("sgd", run_eagerly=True)
    assert distiller.loss_set.parts_built
    assert distiller.evaluate(sentences(), verbose=0, return_dict=True)["attention_scores"] > 0
