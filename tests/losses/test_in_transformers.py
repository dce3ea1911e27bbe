"""Losses of MiniLM, TinyBERT and patient KD between two BERTs: real tokens alone count."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.losses import oracles
from tfkd import losses
from tfkd.distilling._forward import forward_pass

keras_hub = pytest.importorskip("keras_hub", reason="transformers come from tfkd[text]")

LENGTHS = np.array([7, 2, 5])


def bert(width, layers, heads=2):
    """A small encoder without dropout, so that two passes are the same."""
    sizes = {"hidden_dim": width, "num_layers": layers, "num_heads": heads, "intermediate_dim": 2 * width}
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=30, **sizes, dropout=0.0, max_sequence_length=16, num_segments=2
    )
    # Far from the small numbers that such a network begins with, or attention is nearly even.
    rng = np.random.default_rng(width)
    backbone.set_weights([w + rng.normal(0, 0.3, w.shape) for w in backbone.get_weights()])
    return backbone


def sentences(length):
    """Three sentences, padded to a length with ids that are no padding."""
    rng = np.random.default_rng(0)
    ids = np.pad(rng.integers(1, 30, (3, 7)), [(0, 0), (0, length - 7)], constant_values=29)
    real = np.arange(length) < LENGTHS[:, None]
    return {
        "token_ids": ids.astype("int32"),
        "padding_mask": real.astype("int32"),
        "segment_ids": np.zeros_like(ids, "int32"),
    }


@pytest.fixture(scope="module")
def pair():
    return bert(12, 4), bert(8, 2)


def methods(teacher, student):
    theirs, ours = (tfkd.taps.transformer(model) for model in (teacher, student))
    every_second = theirs.attention[1::2]
    return {
        "minilm": [
            losses.AttentionKL(theirs.attention[-1], ours.attention[-1]),
            losses.SelfAttentionRelations(theirs.attention[-1], ours.attention[-1]),
        ],
        "minilm_v2": [
            losses.SelfAttentionRelations(
                theirs.attention[2], ours.attention[-1], of=("queries", "keys", "values"), heads=4
            )
        ],
        "tinybert": [
            losses.AttentionScores(every_second, ours.attention),
            losses.HiddenStates(theirs.hidden[1::2], ours.hidden),
            losses.HiddenStates(theirs.embeddings, ours.embeddings),
        ],
        "patient": [
            losses.PatientCLS(theirs.hidden[1:-1:2], ours.hidden[:-1], projector=True),
            losses.CLSHint(theirs.hidden[-1], ours.hidden[-1]),
        ],
        "distilbert": [losses.CosineEmbedding(theirs.hidden[-1], ours.hidden[-1], projector=True)],
    }


METHODS = ["minilm", "minilm_v2", "tinybert", "patient", "distilbert"]


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_padded_to_twice_the_length_has_the_same_losses_and_gradients(name, pair):
    teacher, student = pair
    distiller = tfkd.Distiller(teacher, student, methods(*pair)[name], student_loss_weight=0.0)
    loss_set = distiller.loss_set

    def step(inputs):
        # Makes projectors where they are still missing.
        with tf.GradientTape() as tape:
            theirs = forward_pass(teacher, loss_set.teacher_taps, inputs, training=False)
            ours = forward_pass(student, loss_set.student_taps, inputs, training=False)
            total = loss_set.total(theirs, ours)
        return total, tape.gradient(total, distiller.trainable_variables)

    value, gradients = step(sentences(7))
    padded, others = step(sentences(14))
    assert float(value) > 0
    np.testing.assert_allclose(padded, value, rtol=1e-5)
    reached = [g for g in gradients if g is not None]
    assert len(reached) > 10 or name == "minilm"
    for mine, theirs in zip(gradients, others, strict=True):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            mine, theirs = (tf.convert_to_tensor(g) for g in (mine, theirs))
            # Positions behind the first seven are of the longer batch alone, where they teach nothing.
            np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=2e-6)
    tracked = [float(tracker.result()) for tracker in loss_set.component_trackers]
    assert all(result > 0 for result in tracked)


def test_values_are_those_of_sentences_one_by_one(pair):
    """Without padding, each sentence alone, by the formulas from queries, keys and values."""
    teacher, student = pair
    kinds = losses.AttentionKL, losses.AttentionScores, losses.SelfAttentionRelations
    names = [tfkd.taps.transformer(model).attention[-1] for model in pair]
    made = [kind(*names) for kind in kinds]
    distiller = tfkd.Distiller(teacher, student, made, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    logs = distiller.fit(sentences(14), verbose=0).history
    expected = {loss.name: [] for loss in made}
    for i, length in enumerate(LENGTHS):
        alone = {key: value[i : i + 1, :length] for key, value in sentences(7).items()}
        scores, values = [], []
        for model, name in zip(pair, names, strict=True):
            tapped = [f"{name}:{kind}" for kind in ("queries", "keys", "values")]
            with tfkd.taps.record(model, tapped) as seen:
                model(alone)
            q, k, v = (seen[tap].numpy().astype("float64") for tap in tapped)
            scores.append(np.einsum("bqhd,bkhd->bhqk", q, k) / np.sqrt(q.shape[-1]))
            values.append(v)
        expected["attention_kl"].append(oracles.attention_kl(*scores))
        expected["attention_scores"].append(oracles.attention_scores(*scores))
        expected["self_attention_relations"].append(oracles.self_attention_relations(*values))
    for name, by_sentence in expected.items():
        assert logs[name][0] == pytest.approx(np.mean(by_sentence), rel=1e-4)


@pytest.mark.parametrize(
    ("policy", "jit_compile"),
    [("mixed_float16", False), ("mixed_bfloat16", True)],
    ids=["float16", "bfloat16 xla"],
)
def test_half_precision_learns_finite_weights(policy, jit_compile):
    keras.config.set_dtype_policy(policy)
    try:
        teacher, student = bert(12, 2), bert(8, 1)
    finally:
        keras.config.set_dtype_policy("float32")
    theirs, ours = (tfkd.taps.transformer(model) for model in (teacher, student))
    attention = theirs.attention[-1], ours.attention[-1]
    made = [
        losses.AttentionKL(*attention),
        losses.AttentionScores(*attention),
        losses.SelfAttentionRelations(*attention, of=("queries", "keys", "values")),
        losses.HiddenStates(theirs.hidden[-1], ours.hidden[-1]),
        losses.CLSHint(theirs.hidden[-1], ours.hidden[-1]),
    ]
    distiller = tfkd.Distiller(teacher, student, made, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-3), jit_compile=jit_compile)
    before = {v.path: v.numpy() for v in student.trainable_variables}
    logs = distiller.fit(sentences(7), verbose=0).history
    assert all(np.isfinite(logs[loss.name][0]) and logs[loss.name][0] > 0 for loss in made)
    after = {v.path: v.numpy() for v in student.trainable_variables}
    assert all(np.isfinite(weights).all() for weights in after.values())
    kept = [path for path, weights in before.items() if np.array_equal(weights, after[path])]
    # The pooler stands behind what the losses look at.
    assert all("pooled_dense" in path for path in kept)
