"""Losses on tokens: labels that do not count, divergences of GKD, hidden states, [CLS]."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests.losses import oracles
from tests.losses.networks import sequence_network
from tests.losses.test_padding import one_step, series
from tfkd import losses
from tfkd.distilling._forward import reduced_loss
from tfkd.losses import (
    Batch,
    CausalLanguageModeling,
    GeneralizedJSD,
    HiddenStates,
    MaskedLanguageModeling,
    PatientCLS,
    ReverseKL,
    SoftTargets,
)

RNG = np.random.default_rng(0)
TEACHER, STUDENT = RNG.normal(0, 2, (2, 3, 5, 7)).astype("float32")
WIDE = TEACHER.astype("float64"), STUDENT.astype("float64")
MASK = np.arange(5) < np.array([5, 2, 3])[:, None]
LABELS = np.where(RNG.uniform(size=(3, 5)) < 0.4, -100, RNG.integers(0, 7, (3, 5)))
COUNTED = MASK & (LABELS != -100)
WEIGHTS = np.array([2.0, 0.5, 1.0], "float32")


def reduced(loss, **batch):
    return float(reduced_loss(loss, tf.constant(TEACHER), tf.constant(STUDENT), Batch(**batch)))


def mean_over(values, counted, weights=None):
    values = values if weights is None else values * weights[:, None]
    return (values * counted).sum() / counted.sum()


@pytest.mark.parametrize(
    ("loss", "oracle"),
    [
        (SoftTargets(2.0, only_labelled=True), lambda t, s: oracles.soft_targets(t, s, 2.0)),
        (ReverseKL(only_labelled=True), oracles.reverse_kl),
        (
            GeneralizedJSD(0.3, 1.5, only_labelled=True),
            lambda t, s: oracles.generalized_jsd(t, s, 0.3, 1.5),
        ),
        (MaskedLanguageModeling(), lambda t, s: oracles.cross_entropies(s, LABELS)),
        (CausalLanguageModeling(), lambda t, s: oracles.cross_entropies(s, LABELS)),
    ],
)
def test_only_labelled_positions_count(loss, oracle):
    values = oracle(*WIDE)
    assert COUNTED.sum() < MASK.sum() < MASK.size
    for mask, counted in ((None, LABELS != -100), (MASK, COUNTED)):
        for weights in (None, WEIGHTS):
            received = reduced(loss, labels=LABELS, mask=mask, sample_weight=weights)
            assert received == pytest.approx(mean_over(values, counted, weights), rel=2e-5)


@pytest.mark.parametrize("kind", [SoftTargets, ReverseKL, GeneralizedJSD])
def test_without_the_option_labels_do_not_matter(kind):
    values = reduced(kind(), labels=LABELS, mask=MASK), reduced(kind(), mask=MASK)
    assert values[0] == values[1] > 0


def test_wrappers_count_what_the_loss_inside_counts():
    plain = SoftTargets(2.0, only_labelled=True)
    expected = reduced(plain, labels=LABELS, mask=MASK)
    # All examples as sure: the weights are ones.
    even = losses.ConfidenceWeighted(plain, power=0.0)
    assert reduced(even, labels=LABELS, mask=MASK) == pytest.approx(expected, rel=1e-6)
    both = losses.WeightedTeachers(plain, ["a", "b"])
    value = reduced_loss(both, [TEACHER, TEACHER], tf.constant(STUDENT), Batch(labels=LABELS, mask=MASK))
    assert float(value) == pytest.approx(expected, rel=1e-6)
    within = losses.within(SoftTargets(2.0, only_labelled=True, teacher_layer="deep"))
    assert reduced(within, labels=LABELS, mask=MASK) == pytest.approx(expected, rel=1e-6)


def test_confidences_are_weighed_among_the_positions_that_count():
    loss = losses.ConfidenceWeighted(SoftTargets(only_labelled=True))
    confidence = oracles.softmax(WIDE[0]).max(-1)
    share = confidence / mean_over(confidence, COUNTED)
    expected = mean_over(share * oracles.soft_targets(*WIDE), COUNTED)
    assert reduced(loss, labels=LABELS, mask=MASK) == pytest.approx(expected, rel=1e-5)


def test_where_nothing_is_labelled_nothing_is_learned():
    student = tf.constant(STUDENT)
    for loss in (MaskedLanguageModeling(), SoftTargets(only_labelled=True)):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = reduced_loss(loss, tf.constant(TEACHER), student, Batch(labels=np.full((3, 5), -100)))
        assert value == 0 and (tape.gradient(value, student).numpy() == 0).all()


def test_labels_that_are_missing_or_do_not_fit_are_named():
    network = sequence_network()
    for loss in (SoftTargets(only_labelled=True), MaskedLanguageModeling()):
        distiller = tfkd.Distiller(network, sequence_network(), loss, student_loss_weight=0.0)
        distiller.compile("sgd")
        with pytest.raises(ValueError, match=f"`y` is missing: the loss '{loss.name}' needs labels"):
            distiller.fit(series()[0], verbose=0)
    with pytest.raises(ValueError, match=r"one int for each position.*\(3, 5, 7\).*shape \(3, 4\)"):
        reduced(MaskedLanguageModeling(), labels=LABELS[:, 1:])
    with pytest.raises(ValueError, match=r"`labels` must be one int.*shape \(3,\)"):
        reduced(SoftTargets(only_labelled=True), labels=LABELS[:, 0])
    with pytest.raises(ValueError, match=r"token ids \(batch, tokens\) with shift=True"):
        losses.causal_language_modeling(STUDENT[:, 0], LABELS[:, 0], shift=True)


def test_token_ids_as_labels_are_shifted_on_request():
    ids = np.where(MASK, RNG.integers(0, 7, (3, 5)), 0)
    following = np.pad(ids[:, 1:], [(0, 0), (0, 1)], constant_values=-100)
    counted = MASK & np.pad(MASK[:, 1:], [(0, 0), (0, 1)])
    expected = mean_over(oracles.cross_entropies(WIDE[1], following), counted)
    assert reduced(CausalLanguageModeling(shift=True), labels=ids, mask=MASK) == pytest.approx(expected)
    # The same with labels as data sets give them.
    given = np.where(counted, following, -100)
    assert reduced(CausalLanguageModeling(), labels=given) == pytest.approx(expected)
    # A prompt of two tokens: the first answer is predicted at its last token.
    answers = np.where(np.arange(5) < 2, -100, ids)
    counted &= np.arange(5) >= 1
    expected = mean_over(oracles.cross_entropies(WIDE[1], following), counted)
    received = reduced(CausalLanguageModeling(shift=True), labels=answers, mask=MASK)
    assert received == pytest.approx(expected)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize(
    "make",
    [
        MaskedLanguageModeling,
        lambda: CausalLanguageModeling(shift=True),
        lambda: SoftTargets(2.0, only_labelled=True),
        lambda: GeneralizedJSD(only_labelled=True),
    ],
    ids=["masked", "causal", "soft_targets", "jsd"],
)
def test_a_batch_padded_further_has_the_same_value_and_gradient(make, jit_compile):
    loss = make()

    @tf.function(jit_compile=jit_compile)
    def step(teacher, student, labels, mask):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = reduced_loss(loss, teacher, student, Batch(labels=labels, mask=mask))
        return value, tape.gradient(value, student)

    # Ids of padding are no labels of -100, but the mask leaves them out.
    given = TEACHER, STUDENT, np.where(MASK, LABELS, 0), MASK
    value, gradient = step(*given)
    padded, other = step(*(np.pad(x, [(0, 0), (0, 3)] + [(0, 0)] * (x.ndim - 2)) for x in given))
    assert float(value) > 0
    np.testing.assert_allclose(padded, value, rtol=1e-6)
    np.testing.assert_allclose(other, np.pad(gradient, [(0, 0), (0, 3), (0, 0)]), rtol=1e-5, atol=1e-8)


def test_labels_of_minus_100_in_a_distiller():
    networks = sequence_network(), sequence_network()
    x, y, _ = series()
    some = np.where(RNG.uniform(size=y.shape) < 0.5, -100, y)
    teacher, student = networks[0](x), networks[1](x, training=True)
    teacher, student = (np.array(outputs, "float64") for outputs in (teacher, student))
    for loss, values in (
        (MaskedLanguageModeling(), oracles.cross_entropies(student, some)),
        (SoftTargets(2.0, only_labelled=True), oracles.soft_targets(teacher, student, 2.0)),
    ):
        received, _ = one_step(networks, loss, (x, some))
        assert received == pytest.approx(mean_over(values, some != -100), rel=1e-5)


def test_a_small_beta_is_forward_kl_and_a_large_one_reverse_kl():
    forward, reverse = oracles.soft_targets(*WIDE, 2.0), oracles.reverse_kl(*WIDE, 2.0)
    jsd = losses.generalized_jsd
    np.testing.assert_allclose(jsd(TEACHER, STUDENT, 0, 2.0), forward, rtol=2e-5)
    np.testing.assert_allclose(jsd(TEACHER, STUDENT, 1, 2.0), reverse, rtol=2e-5)
    np.testing.assert_allclose(jsd(TEACHER, STUDENT, 1e-3, 2.0) / 1e-3, forward, rtol=2e-2)
    np.testing.assert_allclose(jsd(TEACHER, STUDENT, 1 - 1e-3, 2.0) / 1e-3, reverse, rtol=2e-2)
    np.testing.assert_allclose(jsd(TEACHER, STUDENT, 0.3), jsd(STUDENT, TEACHER, 0.7), rtol=1e-5)
    for beta in (-0.1, 1.5):
        with pytest.raises(ValueError, match="`beta` must be between 0 and 1"):
            GeneralizedJSD(beta)


@pytest.mark.parametrize("beta", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_divergences_at_saturated_logits_and_at_equal_ones(beta):
    far = tf.constant([[300.0, 0.0, -50.0]]), tf.constant([[0.0, 300.0, 50.0]])
    for teacher, student in (far, (far[0], far[0]), (tf.zeros((1, 3)), tf.zeros((1, 3)))):
        with tf.GradientTape() as tape:
            tape.watch(student)
            value = losses.generalized_jsd(teacher, student, beta)
        gradient = tape.gradient(value, student).numpy()
        same = np.array_equal(teacher, student)
        # Of two that agree on nothing: the divergence from the mixture is that of a coin.
        entropy = -sum(p * np.log(p) for p in (beta, 1 - beta) if p)
        expected = 0.0 if same else 300.0 if beta in (0, 1) else entropy
        np.testing.assert_allclose(value, [expected], rtol=1e-5, atol=1e-6)
        assert np.isfinite(gradient).all() and (np.abs(gradient).max() < 1e-6 or not same)


def test_cosines_are_averaged_over_the_tokens_of_the_whole_batch():
    """As DistilBERT's: a long sentence counts more than a short one."""
    loss = losses.CosineEmbedding("a", "b")
    expected = mean_over(oracles.cosine_embedding(*WIDE), MASK)
    assert reduced(loss, mask=MASK) == pytest.approx(expected, rel=1e-5)


def test_hidden_states_are_averaged_over_tokens_and_hints_over_examples():
    squares = ((WIDE[0] - WIDE[1]) ** 2).mean(-1)
    assert reduced(HiddenStates("a", "b"), mask=MASK) == pytest.approx(mean_over(squares, MASK), rel=1e-5)
    by_example = (squares * MASK).sum(1) / MASK.sum(1)
    assert reduced(losses.Hint("a", "b"), mask=MASK) == pytest.approx(by_example.mean(), rel=1e-5)


def built(loss, *shapes):
    loss.build(*([(None, None, width) for width in widths] for widths in shapes))
    return loss


def test_one_map_for_all_hidden_states_where_widths_differ():
    taps = ["a", "b"]
    assert built(HiddenStates(taps, taps), [4, 4], [4, 4]).variables == []
    assert len(built(HiddenStates(taps, taps, projector=True), [4, 4], [4, 4]).variables) == 4
    loss = built(HiddenStates(taps, taps), [7, 7], [4, 4])
    assert [tuple(v.shape) for v in loss.trainable_variables] == [(4, 7), (7,)]
    narrow = STUDENT[..., :4]
    kernel, bias = (v.numpy() for v in loss.trainable_variables)
    projected = narrow @ kernel + bias
    expected = 2 * oracles.hidden_states(TEACHER, projected)
    np.testing.assert_allclose(loss([TEACHER] * 2, [narrow] * 2), expected, rtol=1e-4)
    copy = HiddenStates.from_config(loss.get_config())
    assert copy.get_config()["projector"] == "auto"
    assert len(built(copy, [7, 7], [4, 4]).variables) == 2
    with pytest.raises(ValueError, match=r"\[\(7, 4\), \(7, 5\)\].*projector=True"):
        built(HiddenStates(taps, taps), [7, 7], [4, 5])
    with pytest.raises(ValueError, match='`projector` must be "auto"'):
        HiddenStates(taps, taps, projector="one")


def test_one_map_is_saved_once_and_goes_on(tmp_path):
    teacher, student, x = sequence_network(6), sequence_network(4), series()[0]
    loss = HiddenStates(["hidden", "relu"], ["hidden", "relu"])
    distiller = tfkd.Distiller(teacher, student, loss, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-3))
    assert len(loss.trainable_variables) == 2
    distiller.fit(x, verbose=0)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    loaded.teacher = teacher
    for mine, theirs in zip(distiller.loss_set.variables, loaded.loss_set.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    logs = [model.fit(x, verbose=0).history["loss"] for model in (distiller, loaded)]
    np.testing.assert_allclose(*logs, rtol=1e-5)


@pytest.mark.parametrize("kind", [PatientCLS, losses.CLSHint])
def test_of_tokens_the_first_is_compared(kind):
    loss = kind("a", "b", projector=None)
    student = tf.constant(STUDENT)
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = loss(TEACHER, student)
    np.testing.assert_allclose(value, loss(TEACHER[:, 0], STUDENT[:, 0]), rtol=1e-6)
    gradient = tape.gradient(value, student).numpy()
    assert (gradient[:, 1:] == 0).all() and (gradient[:, 0] != 0).all()
    with pytest.raises(ValueError, match=r"with \[CLS\] first.*\(3, 5, 7, 1\)"):
        loss(TEACHER[..., None], STUDENT[..., None])


def test_patient_kd_is_a_mean_over_layers_and_width_of_directions():
    taps = ["a", "b"]
    first, second = (oracles.patient_cls(*pair) for pair in (WIDE, WIDE[::-1]))
    loss = PatientCLS(taps, taps)
    np.testing.assert_allclose(
        loss([TEACHER, STUDENT], [STUDENT, TEACHER]), (first + second) / 2, rtol=1e-5
    )
    cosine = oracles.cosine_embedding(WIDE[0][:, 0], WIDE[1][:, 0])
    np.testing.assert_allclose(first, 2 * cosine / 7)
    np.testing.assert_allclose(loss([TEACHER] * 2, [3 * TEACHER] * 2), 0, atol=1e-6)


def test_a_hint_of_another_width_goes_through_a_projector():
    loss = losses.CLSHint("a", "b")
    loss.build((None, 5, 7), (None, 5, 4))
    narrow = STUDENT[..., :4]
    kernel, bias = (v.numpy() for v in loss.trainable_variables)
    expected = oracles.cls_hint(TEACHER, narrow @ kernel + bias)
    np.testing.assert_allclose(loss(TEACHER, narrow), expected, rtol=1e-5)
