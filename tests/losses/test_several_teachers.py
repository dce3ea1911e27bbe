"""Losses of several teachers: weights that are given, learned or follow confidence; votes on triplets."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tests.losses import oracles
from tfkd import losses
from tfkd.losses import RelativeDissimilarity, WeightedTeachers
from tfkd.schemes import EnsembleTeacher
from tfkd.testing import LOSS_CLAUSES, check_loss

# Keras before 3.12 has none.
distillation = pytest.importorskip("keras.distillation")

pytestmark = pytest.mark.slow

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = blobs(32)
TEACHERS = [*np.random.default_rng(0).normal(0, 2, (3, 6, 5)).astype("float32")]
STUDENT = np.random.default_rng(1).normal(0, 2, (6, 5)).astype("float32")
LABELS = np.random.default_rng(2).integers(0, 5, 6)
NAMES = ["a", "b", "c"]


def oracle(teachers, student, **options):
    as_float64 = [t.astype("float64") for t in teachers]
    return oracles.weighted_teachers(as_float64, student.astype("float64"), **options)


def test_given_weights():
    loss = WeightedTeachers(losses.SoftTargets(), NAMES, [3, 1, 0])
    expected = oracle(TEACHERS, STUDENT, weights=[3, 1, 0])
    np.testing.assert_allclose(loss(TEACHERS, STUDENT), expected, rtol=1e-5)
    assert loss.teacher_weights == [0.75, 0.25, 0.0]
    theirs = distillation.LogitsDistillation(1.0, loss=keras.losses.KLDivergence())
    np.testing.assert_allclose(
        WeightedTeachers(theirs, NAMES, [3, 1, 0])(TEACHERS, STUDENT), expected, rtol=1e-5
    )


def test_averaged_soft_targets_have_the_published_gradient():
    """That of the cross-entropy with the mean of the softened probabilities, times the square."""
    student = tf.constant(STUDENT)
    targets = np.mean([oracles.softmax(t / 4.0) for t in TEACHERS], axis=0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(student)
        ours = WeightedTeachers(losses.SoftTargets(4.0), NAMES)(TEACHERS, student)
        published = -16.0 * tf.reduce_sum(targets * tf.nn.log_softmax(student / 4.0), axis=-1)
    np.testing.assert_allclose(
        tape.gradient(ours, student), tape.gradient(published, student), rtol=1e-3, atol=1e-5
    )


@pytest.mark.parametrize("labels", [None, LABELS, np.eye(5)[LABELS]], ids=["none", "classes", "one-hot"])
def test_weights_by_confidence(labels):
    loss = WeightedTeachers(losses.SoftTargets(), NAMES, "confidence")
    classes = None if labels is None else LABELS
    expected = oracle(TEACHERS, STUDENT, weights="confidence", labels=classes)
    np.testing.assert_allclose(loss(TEACHERS, STUDENT, labels=labels), expected, rtol=1e-4)
    function = losses.weighted_teachers(TEACHERS, STUDENT, weights="confidence", labels=labels)
    np.testing.assert_allclose(function, expected, rtol=1e-4)
    assert loss.teacher_weights is None


def test_the_teacher_that_knows_the_label_is_believed():
    right, wrong = 5 * np.eye(5, dtype="float32")[LABELS], 5 * np.eye(5, dtype="float32")[LABELS - 1]
    loss = WeightedTeachers(losses.MeanSquaredError(), NAMES[:2], "confidence")
    with_labels = loss([right, wrong], np.zeros((6, 5), "float32") + right, labels=LABELS)
    assert np.all(with_labels < 0.1)
    # Both are as sure of their answers.
    without = loss([right, wrong], np.zeros((6, 5), "float32") + right)
    np.testing.assert_allclose(without, 0.5 * np.mean((right - wrong) ** 2, axis=-1), rtol=1e-5)


def test_confidence_weighs_examples_of_inner_layers_and_of_scalars():
    rng = np.random.default_rng(3)
    features = [rng.normal(size=(6, 4)).astype("float32") for _ in range(4)]
    weights = oracles.confidence([t.astype("float64") for t in TEACHERS], LABELS)
    seen = [*features[:3], *TEACHERS]
    options = {"teachers": ["a/x", "b/x", "c/x"], "weights": "confidence", "outputs": NAMES}
    loss = WeightedTeachers(losses.Hint(None, "x"), **options)
    assert loss.teacher_layer == ["a/x", "b/x", "c/x", *NAMES]
    hints = [oracles.hint(t, features[3]) for t in features[:3]]
    np.testing.assert_allclose(loss(seen, features[3], labels=LABELS), (weights * hints).sum(0), rtol=1e-4)
    loss = WeightedTeachers(losses.SimilarityPreserving(None, "x"), **options)
    for given in (None, np.array([1, 0, 2, 1, 3, 1], "float32")):
        plain = np.ones(6) if given is None else given
        expected = sum(
            (plain * w).sum()
            / plain.sum()
            * losses.similarity_preserving(t, features[3], sample_weight=plain * w)
            for w, t in zip(weights, features, strict=False)
        )
        value = loss(seen, features[3], labels=LABELS, sample_weight=given)
        np.testing.assert_allclose(value, expected, rtol=1e-4)


def test_learned_weights_minimize_the_norm_of_the_gradient():
    """By the formula for soft targets, whose gradient by the student's logits is p_s - p_t."""
    loss = WeightedTeachers(losses.SoftTargets(), NAMES, "learned")
    loss.build([(None, 5)] * 3, (None, 5))
    start = np.array([0.3, -0.2, 0.1])
    loss.importance.assign(start)
    slopes = np.stack([oracles.softmax(STUDENT) - oracles.softmax(t) for t in TEACHERS]).astype("float64")

    def objective(importance):
        mixed = np.einsum("k,kbc->bc", oracles.softmax(importance), slopes)
        own = (slopes**2).sum(-1).mean()
        return 0.5 * ((mixed**2).sum(-1) / own).mean()

    with tf.GradientTape() as tape:
        values = loss(TEACHERS, STUDENT, training=True)
        total = tf.reduce_mean(values)
    gradient = tape.gradient(total, loss.importance.value)
    for i in range(3):
        step = 1e-5 * np.eye(3)[i]
        expected = (objective(start + step) - objective(start - step)) / 2e-5
        np.testing.assert_allclose(gradient[i], expected, rtol=1e-3, atol=1e-6)
    # The value of the loss is that of its weights as they are.
    np.testing.assert_allclose(values, oracle(TEACHERS, STUDENT, weights=oracles.softmax(start)), rtol=1e-5)


def test_learned_weights_do_not_choose_the_easiest_teacher():
    """Of gradients (1, 0) and (0, 2) the shortest mean has weights .8 and .2; the easiest one has 1."""
    loss = WeightedTeachers(losses.MeanSquaredError(), NAMES[:2], "learned")
    student, near, far = (np.array([row], "float32") for row in ([0, 0], [1, 0], [0, 2]))
    loss.build([(None, 2)] * 2, (None, 2))
    optimizer = keras.optimizers.Adam(0.1)
    for _ in range(100):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(loss([near, far], student, training=True))
        optimizer.apply([tape.gradient(total, loss.importance.value)], [loss.importance])
    np.testing.assert_allclose(loss.teacher_weights, [0.8, 0.2], atol=0.01)


@pytest.mark.parametrize("rule", [[1, 2, 3], "learned", "confidence"], ids=str)
@pytest.mark.parametrize(
    "kind", [losses.SoftTargets(2.0), losses.SimilarityPreserving()], ids=lambda kind: kind.name
)
def test_the_contract_of_losses(kind, rule):
    check_loss(WeightedTeachers(kind, NAMES, rule), TEACHERS, STUDENT, leave_out={"compiled", "padding"})


@pytest.mark.parametrize("rule", ["learned", "confidence"])
def test_in_a_graph_and_under_xla(rule):
    loss = WeightedTeachers(losses.SimilarityPreserving(), NAMES, rule)
    check_loss(loss, TEACHERS, STUDENT, leave_out=set(LOSS_CLAUSES) - {"compiled"})


def networks():
    keras.utils.set_random_seed(2)
    members = [small_network(width, name=name) for width, name in ((4, "a"), (8, "b"))]
    return EnsembleTeacher(members), small_network(6, name="student")


@pytest.mark.slow
def test_each_teacher_has_a_projector_of_its_own(tmp_path):
    ensemble, student = networks()
    layers = ["conv1", "conv2"]
    loss = ensemble.per_teacher(losses.Hint(layers, layers, projector=True), "learned")
    assert loss.teachers == [["a/conv1", "a/conv2"], ["b/conv1", "b/conv2"]]
    distiller = tfkd.Distiller(ensemble, student, loss, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-2))
    widths = [[p.kernel.shape[-1] for p in part.projectors] for part in loss.parts]
    assert widths == [[4, 8], [8, 16]]
    before = [v.numpy() for v in loss.trainable_variables]
    assert len(before) == 1 + 2 * 4
    distiller.fit(X, verbose=0)
    for kept, variable in zip(before, loss.trainable_variables, strict=True):
        assert not np.array_equal(kept, variable), variable.path
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    loaded.teacher = ensemble
    ours, theirs = (d.fit(X, verbose=0).history["loss"] for d in (distiller, loaded))
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert loaded.distillation_losses[0].teacher_weights == pytest.approx(loss.teacher_weights, rel=1e-5)


@pytest.mark.slow
def test_labels_that_a_loss_needs_are_asked_for():
    ensemble, student = networks()
    loss = ensemble.per_teacher(losses.DecoupledKnowledge())
    distiller = tfkd.Distiller(ensemble, student, loss, student_loss_weight=0.0)
    distiller.compile("adam")
    with pytest.raises(ValueError, match=r"`y` is missing: the loss '.*' needs labels"):
        distiller.fit(X, verbose=0)
    before = harness.snapshot(student)
    distiller.fit(X, Y, verbose=0)
    harness.assert_other_weights(before, student.weights)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((losses.SoftTargets(), ["a"]), {}, ValueError, "at least two teachers"),
        ((losses.SoftTargets(), "ab"), {}, ValueError, "at least two teachers"),
        ((losses.SoftTargets(), NAMES, [1, 2]), {}, ValueError, "each of the 3 teachers"),
        ((losses.SoftTargets(), NAMES, [1, 2, -1]), {}, ValueError, "at least 0"),
        ((losses.SoftTargets(), NAMES, "learnt"), {}, ValueError, "one of 'learned', 'confidence'"),
        ((losses.SoftTargets(), NAMES), {"outputs": ["a"]}, ValueError, "one tap for each of the 3"),
        (("soft", NAMES), {}, TypeError, "must be a tfkd.losses or keras.distillation loss"),
    ],
)
def test_bad_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        WeightedTeachers(*arguments, **options)


def test_a_draw_of_votes_does_not_count():
    line = np.array([[0.0], [1.0], [3.0]], "float32")
    # Where the first teacher finds the second example nearer to the first, the other one finds the third.
    other = np.array([[0.0], [3.0], [1.0]], "float32")
    student = np.array([[0.0], [2.0], [2.5]], "float32")
    triplet = np.array([[0, 1, 2]])
    gap = {"margin": 1.0, "triplets": triplet}
    assert losses.relative_dissimilarity([line, other], student, **gap) == 0
    np.testing.assert_allclose(losses.relative_dissimilarity([line], student, **gap), 0.5)
    np.testing.assert_allclose(losses.relative_dissimilarity([line, other, other], student, **gap), 1.5)
    np.testing.assert_allclose(losses.relative_dissimilarity([line, line, other], student, **gap), 0.5)


def test_an_order_that_is_kept_by_the_margin_teaches_nothing():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(5, 3)).astype("float32")
    assert losses.relative_dissimilarity([teacher], 100 * teacher, margin=0.0) == 0
    student = tf.constant(100 * teacher)
    with tf.GradientTape() as tape:
        tape.watch(student)
        value = losses.relative_dissimilarity([teacher], student, margin=1e-3)
    assert value == 0 and not np.any(tape.gradient(value, student))


def test_given_triplets_are_some_of_all():
    triplets = np.array(list(itertools.permutations(range(6), 3)))
    every = losses.relative_dissimilarity(TEACHERS, STUDENT, 1.0)
    np.testing.assert_allclose(
        losses.relative_dissimilarity(TEACHERS, STUDENT, 1.0, triplets), every, rtol=1e-5
    )
    weights = np.array([1, 2, 0, 1, 3, 1], "float32")
    np.testing.assert_allclose(
        losses.relative_dissimilarity(TEACHERS, STUDENT, 1.0, triplets, weights),
        losses.relative_dissimilarity(TEACHERS, STUDENT, 1.0, None, weights),
        rtol=1e-5,
    )


def test_drawn_triplets_follow_from_the_seed_and_estimate_the_mean():
    every = losses.relative_dissimilarity(TEACHERS, STUDENT, 1.0)
    first, second = (RelativeDissimilarity(NAMES, "x", 1.0, triplets=20_000, seed=5) for _ in "ab")
    values = [float(first(TEACHERS, STUDENT)) for _ in range(2)]
    assert values[0] != values[1] and float(second(TEACHERS, STUDENT)) == values[0]
    np.testing.assert_allclose(values, every, rtol=0.05)
    assert len(first.variables) == 1


def test_bad_arguments_of_triplets():
    with pytest.raises(ValueError, match="`teachers` is empty"):
        losses.relative_dissimilarity([], STUDENT)
    with pytest.raises(ValueError, match="must hold the same examples"):
        losses.relative_dissimilarity([TEACHERS[0][:3]], STUDENT)
    with pytest.raises(ValueError, match="`margin` must be at least 0"):
        RelativeDissimilarity(NAMES, "x", -1.0)
    with pytest.raises(ValueError, match="`triplets` must be an integer of at least 1"):
        RelativeDissimilarity(NAMES, "x", triplets=0)
