import dataclasses
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import harness
from tests.losses import oracles
from tfkd import losses

# Eight values computed elsewhere in float64 by the methods' reference implementations, with their inputs.
GOLDEN = np.load(pathlib.Path(__file__).with_name("golden.npz"))

# Shapes of teacher and student.
LOGITS = {"batch": ((6, 5), (6, 5)), "batch of 1": ((1, 5), (1, 5)), "two classes": ((4, 2), (4, 2))}
LOGITS["tokens"] = ((3, 4, 5), (3, 4, 5))
MAPS = {"larger student": ((3, 4, 4, 5), (3, 8, 8, 5)), "uneven": ((1, 5, 5, 3), (1, 3, 3, 3))}
WIDTHS = {"other widths": ((4, 4, 4, 5), (4, 4, 4, 3)), "uneven": ((2, 3, 3, 2), (2, 5, 5, 4))}
ROWS = {"batch": ((6, 7), (6, 7)), "batch of 1": ((1, 7), (1, 7))}
EMBEDDINGS = {"other widths": ((6, 7), (6, 4)), "maps": ((5, 2, 2, 3), (5, 3, 3, 2))}
ALONE = {"batch of 1": ((1, 7), (1, 4))}


@dataclasses.dataclass(frozen=True)
class Method:
    """How one method is tested: its function and oracle of `(teacher, student)`, shapes, and its class."""

    function: Callable
    oracle: Callable
    shapes: dict
    instance: Callable[[], losses.KnowledgeLoss]
    # Values the function is defined on.
    positive: bool = False
    itself: float | None = 0.0


def labels_like(t):
    return tf.argmin(t, axis=-1)


def margins(t):
    return -0.1 * np.arange(1, t.shape[-1] + 1, dtype="float32")


def variances(t):
    return 0.5 * np.arange(1, t.shape[-1] + 1, dtype="float32")


def halves(x):
    """Two layers' maps out of one array, the second of half the size."""
    return x[..., : x.shape[-1] // 2], x[:, ::2, ::2, x.shape[-1] // 2 :]


TWO_LAYERS = {"batch": ((2, 4, 4, 10), (2, 4, 4, 10)), "larger student": ((1, 4, 4, 10), (1, 8, 8, 10))}
PAIR = ["a", "b"], ["c", "d"]
TWO = [keras.layers.Dense(3), keras.layers.Conv2D(4, 1)]

METHODS = {
    "soft_targets": Method(losses.soft_targets, oracles.soft_targets, LOGITS, losses.SoftTargets),
    "soft_targets_T4": Method(
        lambda t, s: losses.soft_targets(t, s, 4.0),
        lambda t, s: oracles.soft_targets(t, s, 4.0),
        LOGITS,
        lambda: losses.SoftTargets(4.0),
    ),
    "l1_logits": Method(losses.l1_logits, oracles.l1_logits, LOGITS, losses.L1Logits),
    "decoupled": Method(
        lambda t, s: losses.decoupled_knowledge(t, s, labels_like(t)),
        lambda t, s: oracles.decoupled(t, s, t.argmin(-1)),
        LOGITS,
        lambda: losses.DecoupledKnowledge(2.0, 3.0, 5.0),
    ),
    "dist": Method(
        lambda t, s: losses.dist(t, s, 2.0, 3.0, 4.0),
        lambda t, s: oracles.dist(t, s, 2.0, 3.0, 4.0),
        LOGITS,
        lambda: losses.DIST(2.0, 3.0, 4.0),
    ),
    "logit_standardization": Method(
        losses.logit_standardization, oracles.logit_standardization, LOGITS, losses.LogitStandardization
    ),
    "multi_level": Method(
        losses.multi_level_logits,
        oracles.multi_level,
        LOGITS,
        lambda: losses.MultiLevelLogits((1.0, 2.0), 2, 3, 4),
    ),
    "label_smoothing_teacher": Method(
        lambda t, s: losses.teacher_free(s, labels_like(t)),
        lambda t, s: oracles.label_smoothing_teacher(s, t.argmin(-1)),
        LOGITS,
        lambda: losses.TeacherFree(0.9, 10.0),
        itself=None,
    ),
    "hint": Method(losses.hint, oracles.hint, MAPS | ROWS, lambda: losses.Hint(*PAIR, projector=True)),
    "cosine_embedding": Method(
        losses.cosine_embedding, oracles.cosine_embedding, LOGITS, lambda: losses.CosineEmbedding("a", "b")
    ),
    "attention_transfer": Method(
        losses.attention_transfer,
        oracles.attention_transfer,
        WIDTHS,
        lambda: losses.AttentionTransfer(*PAIR),
    ),
    "attention_transfer_power_3": Method(
        lambda t, s: losses.attention_transfer(t, s, 3),
        lambda t, s: oracles.attention_transfer(t, s, 3),
        WIDTHS,
        lambda: losses.AttentionTransfer("a", "b", power=3),
    ),
    "gradient_attention": Method(
        losses.gradient_attention, oracles.gradient_attention, ROWS, losses.GradientAttention
    ),
    "fsp": Method(
        lambda t, s: losses.fsp(halves(t), halves(s)),
        lambda t, s: oracles.fsp(halves(t), halves(s)),
        TWO_LAYERS,
        lambda: losses.FSP(*PAIR, projector=True),
    ),
    "similarity_preserving": Method(
        losses.similarity_preserving,
        oracles.similarity_preserving,
        EMBEDDINGS | ALONE,
        lambda: losses.SimilarityPreserving("a", "b"),
    ),
    "relational": Method(
        losses.relational,
        oracles.relational,
        EMBEDDINGS | ALONE,
        lambda: losses.Relational("a", "b", 1, 2, projector=True),
    ),
    "probabilistic_transfer": Method(
        losses.probabilistic_transfer,
        oracles.probabilistic_transfer,
        EMBEDDINGS | ALONE,
        lambda: losses.ProbabilisticTransfer("a", "b"),
    ),
    "correlation_congruence": Method(
        losses.correlation_congruence,
        oracles.correlation_congruence,
        ROWS,
        lambda: losses.CorrelationCongruence("a", "b", projector=True),
    ),
    "correlation_congruence_taylor": Method(
        lambda t, s: losses.correlation_congruence(t, s, "taylor"),
        oracles.correlation_congruence_taylor,
        EMBEDDINGS | ALONE,
        lambda: losses.CorrelationCongruence("a", "b", "taylor", 3, 0.5),
    ),
    "neuron_selectivity": Method(
        losses.neuron_selectivity,
        oracles.neuron_selectivity,
        WIDTHS,
        lambda: losses.NeuronSelectivity("a", "b"),
    ),
    "factor_transfer": Method(
        losses.factor_transfer,
        oracles.factor_transfer,
        WIDTHS,
        lambda: losses.FactorTransfer("a", "b", 2.0, 0.25),
    ),
    "activation_boundary": Method(
        losses.activation_boundary,
        oracles.activation_boundary,
        MAPS | ROWS,
        lambda: losses.ActivationBoundary(*PAIR, 0.5, projector=TWO),
        itself=None,
    ),
    "variational_information": Method(
        lambda t, s: losses.variational_information(t, s, variances(t)),
        lambda t, s: oracles.variational_information(t, s, variances(t)),
        MAPS | ROWS,
        lambda: losses.VariationalInformation(*PAIR, 3.0),
        itself=None,
    ),
    "overhaul": Method(
        lambda t, s: losses.overhaul(t, s, margins(t)),
        lambda t, s: oracles.overhaul(t, s, margins(t)),
        MAPS | ROWS,
        lambda: losses.Overhaul(*PAIR),
    ),
    "hierarchical_context": Method(
        losses.review_kd,
        oracles.hierarchical_context,
        MAPS | {"pixels": ((2, 8, 8, 2), (2, 8, 8, 2))},
        lambda: losses.ReviewKD(*PAIR, width=4),
    ),
    "contrastive": Method(
        lambda t, s: losses.contrastive(s, 20),
        lambda t, s: oracles.contrastive(s, 20),
        ROWS,
        lambda: losses.Contrastive(
            "a", "b", examples=20, negatives=4, temperature=0.1, momentum=0.2, seed=1
        ),
        positive=True,
        itself=None,
    ),
    "singular_values": Method(
        lambda t, s: losses.singular_values(halves(t), halves(s)),
        lambda t, s: oracles.singular_values(halves(t), halves(s)),
        TWO_LAYERS,
        lambda: losses.SingularValues(*PAIR, 2, projector=True),
    ),
}
CASES = [
    pytest.param(method, shapes, id=f"{name}-{case}")
    for name, method in METHODS.items()
    for case, shapes in method.shapes.items()
]


def values(method, shapes, seed=1):
    rng = np.random.default_rng(seed)
    teacher, student = (rng.normal(0, 3, shape).astype("float32") for shape in shapes)
    return (np.exp(teacher), np.exp(student)) if method.positive else (teacher, student)


@pytest.mark.parametrize(("method", "shapes"), CASES)
def test_values_and_gradients(method, shapes):
    harness.check_loss_function(method.function, method.oracle, *values(method, shapes))


@pytest.mark.parametrize("name", METHODS)
def test_graph_and_xla(name):
    method = METHODS[name]
    harness.check_compiled(method.function, *values(method, next(iter(method.shapes.values()))))


@pytest.mark.parametrize("name", METHODS)
def test_configuration(name):
    loss = METHODS[name].instance()
    config = keras.saving.serialize_keras_object(loss)
    copy = keras.saving.deserialize_keras_object(config)
    assert type(copy) is type(loss) and keras.saving.serialize_keras_object(copy) == config
    # An option that the configuration forgot would be back at its default.
    assert options(copy) == options(loss)


def options(loss):
    plain = int, float, str, list, dict
    own = {key: value for key, value in vars(loss).items() if key[0] != "_" and isinstance(value, plain)}
    return {key: value for key, value in own.items() if "keras" not in str(type(value)) or not value}


@pytest.mark.parametrize("name", METHODS)
def test_nothing_to_learn_from_itself(name):
    method = METHODS[name]
    if method.itself is None:
        pytest.skip("not a distance between teacher and student")
    shape = next(iter(method.shapes.values()))[0]
    same, _ = values(method, (shape, shape), seed=3)
    np.testing.assert_allclose(method.function(same, same), method.itself, atol=2e-5)


def of_kind(shapes):
    return [name for name, method in METHODS.items() if method.shapes is shapes]


@pytest.mark.parametrize("name", of_kind(LOGITS))
def test_logits_of_one_class_are_harmless(name):
    value = METHODS[name].function(np.ones((3, 1), "float32"), np.zeros((3, 1), "float32"))
    assert np.isfinite(value).all()


@pytest.mark.parametrize("name", of_kind(LOGITS))
def test_saturated_logits_keep_values_and_gradients_finite(name):
    if name == "cosine_embedding":
        pytest.skip("takes hidden states, not logits")
    teacher = np.array([[1e4, -1e4, 0.0], [40.0, 0.0, 0.0]], "float32")
    student = tf.Variable([[-1e4, 1e4, 0.0], [0.0, 40.0, 0.0]])
    with tf.GradientTape() as tape:
        value = METHODS[name].function(teacher, student)
    assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, student)).all()


WITHOUT_FEATURES = "contrastive", "decoupled", "label_smoothing_teacher"


@pytest.mark.parametrize("name", [name for name in METHODS if name not in WITHOUT_FEATURES])
def test_features_that_are_all_zero_keep_gradients_finite(name):
    method = METHODS[name]
    shapes = next(iter(method.shapes.values()))
    student = tf.Variable(tf.zeros(shapes[1]))
    with tf.GradientTape() as tape:
        value = method.function(tf.zeros(shapes[0]), student)
    assert np.isfinite(value).all() and np.isfinite(tape.gradient(value, student)).all()


@pytest.mark.parametrize("name", METHODS)
def test_values_that_are_not_finite_are_refused(name):
    method = METHODS[name]
    teacher, student = values(method, next(iter(method.shapes.values())))
    student[0] = np.nan
    with pytest.raises(ValueError, match=r"must be finite\. Received: NaN or infinite values"):
        method.function(teacher, student)


RELATIONS = {
    "dist": losses.dist,
    "multi_level": losses.multi_level_logits,
    "similarity_preserving": losses.similarity_preserving,
    "relational": losses.relational,
    "probabilistic_transfer": losses.probabilistic_transfer,
    "taylor": lambda t, s, **kwargs: losses.correlation_congruence(t, s, "taylor", **kwargs),
}


@pytest.mark.parametrize("function", RELATIONS.values(), ids=RELATIONS)
def test_sample_weights_of_relations_count_copies(function):
    teacher, student = (np.random.default_rng(i).normal(size=(5, 4)).astype("float32") for i in (1, 2))
    counts = np.array([1, 0, 3, 2, 1])
    copied = function(np.repeat(teacher, counts, 0), np.repeat(student, counts, 0))
    weighted = function(teacher, student, sample_weight=counts)
    np.testing.assert_allclose(weighted, copied, rtol=2e-5, atol=1e-7)
    assert np.isfinite(function(teacher, student, sample_weight=np.zeros(5)))


# Reference values.
def golden(name):
    return {
        "soft_target_T1": lambda a: losses.soft_targets(a("teacher_logits"), a("student_logits")),
        "soft_target_T4": lambda a: losses.soft_targets(a("teacher_logits"), a("student_logits"), 4.0),
        "decoupled_T4_alpha1_beta8": lambda a: losses.decoupled_knowledge(
            a("teacher_logits"), a("student_logits"), a("labels")
        ),
        "attention_transfer_p2": lambda a: losses.attention_transfer(a("teacher_map"), a("student_map")),
        "similarity_preserving": lambda a: losses.similarity_preserving(a("teacher_map"), a("student_map")),
        "fsp": lambda a: losses.fsp(
            (a("teacher_map"), a("teacher_map2")), (a("student_map"), a("student_map2"))
        ),
        "hint_mse": lambda a: losses.hint(a("teacher_map"), a("student_map")),
        "relational_distance25_angle50": lambda a: losses.relational(
            a("teacher_embedding"), a("student_embedding")
        ),
    }[name](lambda key: GOLDEN[f"in_{key}"])


@pytest.mark.parametrize("name", [key.removeprefix("out_") for key in GOLDEN if key.startswith("out_")])
def test_reference_values(name):
    np.testing.assert_allclose(np.mean(golden(name)), GOLDEN[f"out_{name}"], rtol=1e-6)


# Single methods.
def test_soft_targets_where_keras_is_wrong():
    value = losses.soft_targets([[8.0, 0.0, -2.0]], [[1.0, 2.0, 0.5]], temperature=4.0)
    np.testing.assert_allclose(value, [8.7303], atol=1e-4)


def test_soft_targets_keeps_value_and_gradient_at_saturated_logits():
    student = tf.Variable([[0.0, 40.0]])
    with tf.GradientTape() as tape:
        value = losses.soft_targets([[40.0, 0.0]], student)
    np.testing.assert_allclose(value, [40.0], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, student), [[-1.0, 1.0]], rtol=1e-6)
    extreme = losses.soft_targets([[1e4, -1e4]], [[-1e4, 1e4]])
    np.testing.assert_allclose(extreme, [2e4], rtol=1e-6)


SMALL = st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3)


@settings(max_examples=50, deadline=None)
@given(SMALL, SMALL, st.floats(0.5, 20, width=32), st.floats(-10, 10, width=32))
def test_soft_targets_is_a_divergence_of_probabilities(teacher, student, temperature, shift):
    teacher, student = np.array([teacher], "float32"), np.array([student], "float32")
    value = float(losses.soft_targets(teacher, student, temperature)[0])
    assert value >= -1e-4
    # Adding a constant to all logits changes no probability.
    shifted = float(losses.soft_targets(teacher + np.float32(shift), student, temperature)[0])
    np.testing.assert_allclose(shifted, value, rtol=1e-3, atol=1e-2)


@settings(max_examples=50, deadline=None)
@given(SMALL, SMALL, st.floats(1, 20, width=32), st.integers(0, 2))
def test_decoupled_with_the_teachers_own_weights_is_soft_targets(teacher, student, temperature, label):
    """The paper's identity: KL = KL(target) + (1 - p of the target) * KL(others)."""
    teacher, student = np.array([teacher], "float32"), np.array([student], "float32")
    rest = 1 - oracles.softmax(teacher.astype("float64") / temperature)[0, label]
    value = losses.decoupled_knowledge(teacher, student, [label], 1.0, float(rest), temperature)
    expected = losses.soft_targets(teacher, student, temperature)
    np.testing.assert_allclose(value, expected, rtol=1e-3, atol=1e-2)


def test_labels_may_be_columns_or_one_hot():
    teacher, student = (np.random.default_rng(i).normal(size=(4, 5)).astype("float32") for i in (1, 2))
    labels = np.array([0, 4, 2, 2])
    expected = losses.decoupled_knowledge(teacher, student, labels)
    np.testing.assert_allclose(losses.decoupled_knowledge(teacher, student, labels[:, None]), expected)
    np.testing.assert_allclose(losses.decoupled_knowledge(teacher, student, np.eye(5)[labels]), expected)
    with pytest.raises(ValueError, match=r"`labels` must be int classes or one-hot rows.*shape \(4, 3\)"):
        losses.decoupled_knowledge(teacher, student, np.zeros((4, 3)))


def test_margins_are_means_of_the_negative_half():
    norm = keras.layers.BatchNormalization()
    norm.build((None, 3))
    norm.gamma.assign([2.0, -1.0, 0.5])
    norm.beta.assign([0.0, 1.0, 9.0])
    from tfkd.losses._overhaul import batch_norm_margin

    samples = np.random.default_rng(0).normal(size=4_000_000)
    expected = [np.mean(v[v < 0]) for v in (2 * samples, 1 + samples)] + [-1.5]
    np.testing.assert_allclose(batch_norm_margin(norm), expected, rtol=5e-3)


def test_singular_values_see_neither_sign_nor_strength():
    rng = np.random.default_rng(4)
    teacher = [rng.normal(size=(2, 3, 3, 5)).astype("float32") for _ in range(2)]
    student = [teacher[0] * 3, -teacher[1]]
    np.testing.assert_allclose(losses.singular_values(teacher, student), 0, atol=1e-6)


@pytest.mark.parametrize("name", ["hint", "attention_transfer", "neuron_selectivity", "overhaul"])
def test_maps_whose_size_only_the_data_tell(name):
    method = METHODS[name]
    teacher, student = values(method, ((2, 4, 4, 5), (2, 4, 4, 5)))
    unknown = [tf.TensorSpec((None, None, None, 5))] * 2
    compiled = tf.function(method.function, unknown)
    np.testing.assert_allclose(
        compiled(teacher, student), method.oracle(teacher, student), rtol=1e-4, atol=1e-5
    )


# Bad input.
@pytest.mark.parametrize("name", ["soft_targets", "dist", "multi_level", "decoupled", "l1_logits"])
def test_logits_that_cannot_match(name):
    with pytest.raises(ValueError, match=r"same shape.*teacher \(2, 3\), student \(2, 4\)"):
        METHODS[name].function(np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize("name", ["hint", "cosine_embedding", "activation_boundary", "fsp"])
def test_widths_that_cannot_match(name):
    with pytest.raises(ValueError, match="projector=True"):
        METHODS[name].function(np.zeros((2, 4, 4, 6)), np.zeros((2, 4, 4, 8)))


@pytest.mark.parametrize("name", ["attention_transfer", "neuron_selectivity", "factor_transfer"])
def test_features_without_positions(name):
    with pytest.raises(ValueError, match="must be maps"):
        METHODS[name].function(np.zeros((2, 4)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="Tap layers of the same kind"):
        METHODS[name].function(np.zeros((2, 4, 4, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize("name", ["similarity_preserving", "relational", "probabilistic_transfer"])
def test_batches_that_cannot_match(name):
    with pytest.raises(ValueError, match=r"same examples.*2 and 3"):
        METHODS[name].function(np.zeros((2, 4)), np.zeros((3, 4)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: losses.SoftTargets(0), "`temperature` must be above 0"),
        (lambda: losses.SoftTargets(-1.0), "`temperature` must be above 0"),
        (lambda: losses.SoftTargets(float("nan")), "`temperature` must be above 0"),
        (lambda: losses.DecoupledKnowledge(alpha=-1), "`alpha` must be at least 0"),
        (lambda: losses.DIST(temperature=0), "`temperature` must be above 0"),
        (lambda: losses.LogitStandardization(0), "`temperature` must be above 0"),
        (lambda: losses.MultiLevelLogits(()), "`temperatures` must hold at least one"),
        (lambda: losses.MultiLevelLogits((1.0, -2.0)), "`temperatures` must be above 0"),
        (lambda: losses.TeacherFree(correct=1.0), "`correct` must be above 0 and below 1"),
        (lambda: losses.AttentionTransfer("a", "b", power=0), "`power` must be at least 1"),
        (lambda: losses.Relational("a", "b", -1), "`distance_weight` must be at least 0"),
        (lambda: losses.CorrelationCongruence("a", "b", kernel="rbf"), "`kernel` must be"),
        (lambda: losses.ActivationBoundary("a", "b", margin=0), "`margin` must be above 0"),
        (lambda: losses.VariationalInformation("a", "b", initial_variance=0), "`initial_variance` must be"),
        (lambda: losses.FSP("a", "b"), "list of at least two layers"),
        (lambda: losses.SingularValues(["a"], ["b"]), "list of at least two layers"),
        (lambda: losses.Hint(["a", "b"], ["c"]), "as many layers each"),
        (
            lambda: losses.Hint(["a", "b"], ["c", "d"], projector=keras.layers.Dense(3)),
            "each of the 2 pairs",
        ),
        (lambda: losses.ReviewKD(["a"], ["b"], width=0), "`width` must be an int of at least 1"),
        (lambda: losses.ReviewKD(["a"], ["b"], projector=True), "`projector` is not for `Review`"),
        (lambda: losses.FactorTransfer("a", "b", rate=0), "`rate` must be above 0"),
        (lambda: losses.FactorTransfer(["a"], ["b"]), "one pair of layers"),
        (lambda: losses.Contrastive("a", "b", examples=0), "`examples` must be an int of at least 1"),
        (lambda: losses.Contrastive("a", "b", examples=9, momentum=1.0), r"`momentum` must be in \[0, 1\)"),
        (lambda: losses.contrastive(np.ones((2, 1)), 9), "at least one negative"),
        (lambda: losses.singular_values([np.zeros((1, 2, 2, 1))], [np.zeros((1, 2, 2, 1))]), "two or more"),
    ],
)
def test_bad_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_projector_that_is_no_layer():
    with pytest.raises(TypeError, match="`projector` must be True, None, a Keras layer"):
        losses.Hint("a", "b", projector="dense")


def test_relative_hint_of_chosen_channels():
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(4, 5, 5, 6)).astype("float32"), rng.normal(size=(4, 5, 5, 2))
    student = student.astype("float32")
    loss = losses.Hint("a", "b", channels=[[1, 4]], relative=True)
    chosen = teacher[..., [1, 4]]
    expected = np.mean((chosen - student) ** 2, axis=(1, 2, 3)) / np.mean(chosen**2)
    np.testing.assert_allclose(loss.call(teacher, student), expected, rtol=1e-5)
    np.testing.assert_allclose(loss.call(100 * teacher, 100 * student), expected, rtol=1e-5)
    again = type(loss).from_config(loss.get_config())
    np.testing.assert_allclose(again.call(teacher, student), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="`channels` must be a list for each of the 2 pairs"):
        losses.Hint(["a", "b"], ["a", "b"], channels=[[1]])
    with pytest.raises(ValueError, match="`projector` must be None where `channels` are chosen"):
        losses.Hint("a", "b", projector=True, channels=[[1]])


def test_relative_hint_leaves_padding_out():
    teacher, student = np.ones((1, 4, 3), "float32"), np.zeros((1, 4, 3), "float32")
    loss = losses.Hint("a", "b", relative=True)
    mask = np.array([[True, False, False, False]])
    np.testing.assert_allclose(loss.call(teacher, student, mask=mask), [1.0], rtol=1e-6)
    np.testing.assert_allclose(loss.call(0 * teacher, student), [0.0])
