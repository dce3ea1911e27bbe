"""Tokens that count: losses, labels' loss and metrics leave padding out, however a model knows of it."""

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import tfkd
from tests.distilling import token_models
from tests.distilling.token_models import LABELS, TAGGERS, sentences
from tests.losses import oracles
from tfkd import losses
from tfkd._core.keras_internals import mask_of
from tfkd.distilling import forward_pass

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
HOWS = {"eager": {"run_eagerly": True}, "graph": {}, "xla": {"jit_compile": True}}


def cosines(t, s):
    t, s = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (t, s))
    return 1 - (t * s).sum(-1)


def over_tokens(values, x, weights=1.0):
    """The mean over the real tokens, each of the weight of its sentence."""
    real = x["padding_mask"]
    return (values * real * weights).sum() / real.sum()


def tagged(x, seed=1):
    """A label for each token, some of which do not count."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, LABELS, x["token_ids"].shape)
    left_out = (x["padding_mask"] == 0) | (rng.uniform(size=labels.shape) < 0.3)
    return np.where(left_out, -100, labels)


def features(model, tap, x):
    passed = forward_pass(model, [tap], {name: tf.constant(each) for name, each in x.items()}, False)
    return passed.features[tap].numpy().astype("float64"), passed.output.numpy().astype("float64")


def distiller_of(name, knowledge=None, share=0.0, how=None, **options):
    make, tap = TAGGERS[name]
    teacher, student = make(), make()
    knowledge = [losses.CosineEmbedding(tap, tap)] if knowledge is None else knowledge
    distiller = tfkd.Distiller(teacher, student, knowledge, student_loss_weight=share)
    distiller.compile(keras.optimizers.SGD(0.0), LABELS_LOSS, **(how or {}), **options)
    return distiller, tap


@pytest.mark.parametrize(
    ("name", "how"),
    [*((name, "eager") for name in TAGGERS), *((name, "xla") for name in ("functional", "keras_masks"))],
)
def test_a_cosine_loss_of_hidden_states_counts_real_tokens_only(name, how):
    distiller, tap = distiller_of(name, how=HOWS[how])
    x = sentences()
    teacher, student = (features(model, tap, x)[0] for model in (distiller.teacher, distiller.student))
    expected = over_tokens(cosines(teacher, student), x)
    assert abs(cosines(teacher, student).mean() - expected) > 0.01
    logs = distiller.evaluate(x, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["functional", "keras_masks"])
def test_soft_targets_and_labels_of_tokens_count_real_tokens_only(name):
    distiller, tap = distiller_of(
        name, [losses.SoftTargets(2.0)], 0.5, metrics=["accuracy"], weighted_metrics=["accuracy"]
    )
    x = sentences()
    # Labels of all tokens, so that what is counted follows from the mask alone.
    y = np.random.default_rng(2).integers(0, LABELS, x["token_ids"].shape)
    _, t = features(distiller.teacher, tap, x)
    _, s = features(distiller.student, tap, x)
    soft = over_tokens(oracles.soft_targets(t, s, 2.0), x)
    hard = over_tokens(-np.take_along_axis(oracles.log_softmax(s), y[..., None], -1)[..., 0], x)
    logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["soft_targets"] == pytest.approx(soft, rel=1e-4)
    assert logs["student_loss"] == pytest.approx(hard, rel=1e-4)
    assert logs["loss"] == pytest.approx((soft + hard) / 2, rel=1e-4)
    accuracy = over_tokens(s.argmax(-1) == y, x)
    assert logs["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    assert logs["weighted_accuracy"] == pytest.approx(accuracy, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "how"),
    [("none", "graph"), ("examples", "eager"), ("tokens", "graph"), ("examples", "xla")],
)
def test_labels_that_do_not_count_and_weights(weights, how):
    distiller, tap = distiller_of("keras_masks", share=1.0, how=HOWS[how])
    x = sentences()
    y = tagged(x)
    shape = {"none": (1, 1), "examples": (len(y), 1), "tokens": y.shape}[weights]
    w = np.random.default_rng(3).uniform(0.5, 2, shape).astype("float32") if weights != "none" else None
    _, s = features(distiller.student, tap, x)
    counts = y != -100
    entropies = -np.take_along_axis(oracles.log_softmax(s), np.maximum(y, 0)[..., None], -1)[..., 0]
    expected = (entropies * counts * (1 if w is None else w)).sum() / counts.sum()
    given = w[:, 0] if weights == "examples" else w
    data = (x, y) if w is None else (x, y, given)
    value = distiller.fit(tf.data.Dataset.from_tensors(data), verbose=0).history["student_loss"][0]
    assert value == pytest.approx(expected, rel=1e-4)


def test_weights_of_sentences_weigh_their_tokens_in_metrics():
    distiller, tap = distiller_of("functional", share=1.0, weighted_metrics=["accuracy"])
    x = sentences()
    y = np.random.default_rng(2).integers(0, LABELS, x["token_ids"].shape)
    w = np.random.default_rng(3).uniform(0.5, 2, len(y)).astype("float32")
    _, s = features(distiller.student, tap, x)
    right, weights = s.argmax(-1) == y, w[:, None] * x["padding_mask"]
    logs = distiller.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)
    assert logs["accuracy"] == pytest.approx((right * weights).sum() / weights.sum(), rel=1e-5)


def test_a_batch_in_which_nothing_counts_is_finite():
    distiller, _ = distiller_of("functional", share=0.5)
    x = sentences(2, lengths=[0, 0])
    logs = distiller.fit(x, tagged(x), verbose=0).history
    assert all(np.isfinite(value) for values in logs.values() for value in values)


@pytest.mark.parametrize("name", ["functional", "keras_masks"])
def test_padding_changes_no_weight(name):
    x, longer = sentences(longest=6, lengths=[6, 4, 3, 6]), {}
    for key, values in x.items():
        longer[key] = np.pad(values, ((0, 0), (0, 3)))
    make, tap = TAGGERS[name]
    teacher, students = make(), [make(), make()]
    students[1].set_weights(students[0].get_weights())
    for student, data in zip(students, (x, longer), strict=True):
        knowledge = [losses.SoftTargets(2.0), losses.CosineEmbedding(tap, tap), losses.Hint(tap, tap)]
        distiller = tfkd.Distiller(teacher, student, knowledge)
        distiller.compile(keras.optimizers.SGD(0.1), LABELS_LOSS, run_eagerly=True)
        distiller.fit(
            data,
            tagged(x) if data is x else np.pad(tagged(x), ((0, 0), (0, 3)), constant_values=-100),
            verbose=0,
        )
    for mine, theirs in zip(*(student.get_weights() for student in students), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=1e-5)


def test_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        distiller, _ = distiller_of("functional", [losses.SoftTargets(2.0)], 0.5)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    x = sentences()
    logs = [distiller.fit(each, verbose=0, y=tagged(x)).history for each in (x, x)]
    assert np.isfinite(logs[0]["loss"]).all() and logs[0]["student_loss"] == logs[1]["student_loss"]


def masks_of(model, taps, x):
    passed = forward_pass(model, taps, {name: tf.constant(each) for name, each in x.items()}, False)
    return [mask_of(passed.features[tap]) for tap in taps], mask_of(passed.output)


@pytest.mark.parametrize("name", TAGGERS)
def test_what_has_a_token_axis_has_a_mask(name):
    make, tap = TAGGERS[name]
    x = sentences()
    masks, of_output = masks_of(make(), [tap, f"{tap}:input"], x)
    for mask in (*masks, of_output):
        assert mask.dtype == tf.bool
        np.testing.assert_array_equal(mask, x["padding_mask"].astype(bool))


def test_what_has_no_token_axis_gets_no_mask():
    """Pooled outputs, and tokens behind channels."""
    classifier = token_models.bert_classifier()
    inputs = classifier.input
    turned = ops.transpose(classifier.backbone(inputs)["sequence_output"], (0, 2, 1))
    x = sentences()
    passed = forward_pass(keras.Model(inputs, turned), ["bert_backbone"], x, False)
    assert passed.output.shape == (6, 16, 8) and mask_of(passed.output) is None
    assert mask_of(passed.features["bert_backbone"]["pooled_output"]) is None
    assert mask_of(passed.features["bert_backbone"]["sequence_output"]) is not None
    assert mask_of(forward_pass(classifier, [], x, False).output) is None


@pytest.mark.parametrize("steps", [8, None])
def test_values_of_another_length_count_as_a_whole(steps):
    inputs = keras.Input((steps, 2))
    masked = layers.Masking()(inputs)
    model = keras.Model(inputs, layers.Dense(3, name="logits")(masked[:, ::2] + 1.0))
    other = keras.models.clone_model(model)
    x = np.ones((6, 8, 2), "float32")
    x[:, 3:] = 0
    spec = tf.TensorSpec((None, steps, 2))
    data = tf.data.Dataset.from_generator(lambda: [x], output_signature=spec)
    distiller = tfkd.Distiller(model, other, losses.MeanSquaredError(), student_loss_weight=0.0)
    distiller.compile("sgd")
    expected = np.mean((model(x).numpy() - other(x).numpy()) ** 2)
    assert distiller.evaluate(data, verbose=0, return_dict=True)["loss"] == pytest.approx(
        expected, rel=1e-5
    )


def test_masks_made_in_a_loop_stay_there():
    inputs = keras.Input((3, None), dtype="int32")
    words = keras.Sequential([layers.Embedding(9, 4, mask_zero=True), layers.GlobalAveragePooling1D()])
    sentence_means = layers.TimeDistributed(words, name="sentences")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(sentence_means))
    step = tf.function(lambda x: forward_pass(model, ["sentences"], x, False).features["sentences"])
    assert step(tf.ones((2, 3, 5), tf.int32)).shape == (2, 3, 4)


def test_inputs_that_both_networks_share_are_left_as_they_are():
    """The mask that one network makes must not reach the other."""
    inputs = keras.Input((None, 2))
    masked = keras.Model(inputs, layers.Dense(3, name="logits")(layers.Masking(name="masking")(inputs)))
    x = tf.zeros((2, 4, 2))
    forward_pass(masked, ["masking:input"], x, False)
    assert mask_of(x) is None


def test_networks_that_disagree_about_padding_are_refused():
    student, x = token_models.keras_masks_tagger(), sentences()
    # Id 0 is a word to the teacher, say, and padding to the student.
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    hidden = keras_hub.layers.TransformerEncoder(32, 2, name="layer")(
        layers.Embedding(50, 16)(ids), padding_mask=mask
    )
    teacher = keras.Model({"token_ids": ids, "padding_mask": mask}, layers.Dense(LABELS)(hidden))
    x = {"token_ids": x["token_ids"], "padding_mask": np.ones_like(x["padding_mask"])}
    for how, error in (({"run_eagerly": True}, ValueError), ({}, tf.errors.InvalidArgumentError)):
        distiller = tfkd.Distiller(
            teacher, student, losses.CosineEmbedding("layer", "layer"), student_loss_weight=0.0
        )
        distiller.compile("sgd", **how)
        with pytest.raises(error, match="same tokens"):
            distiller.evaluate(x, verbose=0)


def test_networks_that_teach_each_other_count_real_tokens_only():
    make, tap = TAGGERS["keras_masks"]
    students = [make(), make()]
    x = sentences()
    y = np.random.default_rng(2).integers(0, LABELS, x["token_ids"].shape)
    distiller = tfkd.schemes.MutualDistiller(students, losses.CosineEmbedding(tap, tap))
    distiller.compile("sgd", LABELS_LOSS, metrics=["accuracy"])
    hidden, outputs = zip(*(features(student, tap, x) for student in students), strict=True)
    logs = distiller.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["student_0_cosine_embedding"] == pytest.approx(over_tokens(cosines(*hidden), x), rel=1e-4)
    for name, each in (("accuracy", sum(outputs)), ("student_1_accuracy", outputs[1])):
        assert logs[name] == pytest.approx(over_tokens(each.argmax(-1) == y, x), rel=1e-5)
