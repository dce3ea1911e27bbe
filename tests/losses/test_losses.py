"""Single methods: reference values, identities, edge cases, bad input; test_contract.py has the rest."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.losses import oracles
from tests.losses.methods import METHODS
from tfkd import losses

# Eight values computed elsewhere in float64 by the methods' reference implementations, with their inputs.
GOLDEN = np.load(pathlib.Path(__file__).with_name("golden.npz"))


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


def test_one_bernoulli_label_is_soft_targets_of_two_classes():
    teacher, student = np.random.default_rng(2).normal(0, 3, (2, 5, 1)).astype("float32")
    both = (np.concatenate([z, np.zeros_like(z)], axis=1) for z in (teacher, student))
    expected = losses.soft_targets(*both, temperature=3.0)
    np.testing.assert_allclose(losses.bernoulli_targets(teacher, student, 3.0), expected, rtol=1e-5)


def test_bernoulli_targets_keeps_value_and_gradient_at_saturated_logits():
    student = tf.Variable([[-40.0, 40.0], [40.0, -40.0]])
    with tf.GradientTape() as tape:
        value = losses.bernoulli_targets([[40.0, -40.0], [40.0, -40.0]], student)
    np.testing.assert_allclose(value, [80.0, 0.0], rtol=1e-6)
    # Probability of the student less that of the teacher.
    np.testing.assert_allclose(tape.gradient(value, student), [[-1.0, 1.0], [0.0, 0.0]], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(SMALL, SMALL, st.floats(0.5, 20, width=32))
def test_bernoulli_targets_is_a_divergence_of_probabilities(teacher, student, temperature):
    teacher, student = np.array([teacher], "float32"), np.array([student], "float32")
    value = losses.bernoulli_targets(teacher, student, temperature)
    assert value.shape == (1,) and float(value[0]) >= -1e-4
    # A label turned round is the same label.
    np.testing.assert_allclose(losses.bernoulli_targets(-teacher, -student, temperature), value, rtol=1e-5)


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


def test_singular_values_look_at_no_vector_that_is_not_there():
    """With fewer positions than vectors asked for, the others are arbitrary."""
    teacher, student = np.random.default_rng(4).normal(size=(2, 2, 3, 2, 7)).astype("float32")
    expected = oracles.singular_values([*teacher], [*student])
    padding = (0, 0), (0, 0), (0, 5), (0, 0)
    for pair in ((teacher, student), (np.pad(teacher, padding), np.pad(student, padding))):
        value = losses.singular_values(*([*layers] for layers in pair))
        np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "hint",
        "attention_transfer",
        "neuron_selectivity",
        "overhaul",
        "prime_aware",
        "pearson_features",
        "channel_wise",
        "inter_channel_correlation",
        "attention_guided",
    ],
)
def test_maps_whose_size_only_the_data_tell(name):
    method = METHODS[name]
    teacher, student = np.random.default_rng(1).normal(0, 3, (2, 2, 4, 4, 5)).astype("float32")
    unknown = [tf.TensorSpec((None, None, None, 5))] * 2
    compiled = tf.function(method.function, unknown)
    np.testing.assert_allclose(
        compiled(teacher, student), method.oracle(teacher, student), rtol=1e-4, atol=1e-5
    )


def test_weights_of_soft_targets_have_no_gradient():
    teacher, student = np.random.default_rng(2).normal(0, 3, (2, 5, 4)).astype("float32")
    variable, labels = tf.Variable(student), teacher.argmin(-1)
    with tf.GradientTape() as tape:
        value = losses.weighted_soft_targets(teacher, variable, labels, 2.0)
    gradient = tape.gradient(value, variable)
    with tf.GradientTape() as tape:
        unweighted = losses.soft_targets(teacher, variable, 2.0)
    weights = (value / unweighted).numpy()
    assert 0 < weights.min() < weights.max() < 1
    expected = weights[:, None] * tape.gradient(unweighted, variable)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_weighted_soft_targets_at_saturated_logits():
    student = tf.Variable([[1e4, -1e4], [-1e4, 1e4]])
    with tf.GradientTape() as tape:
        value = losses.weighted_soft_targets([[1e4, -1e4]] * 2, student, [0, 0], 1.0)
    # Right as the teacher is, and wrong as can be.
    np.testing.assert_allclose(value, [0.0, 2e4], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(value, student), [[0, 0], [-1, 1]], atol=1e-6)


def test_pearson_features_see_neither_scale_nor_offset():
    teacher, student = np.random.default_rng(2).normal(size=(2, 3, 4, 4, 5)).astype("float32")
    expected = losses.pearson_features(teacher, student)
    np.testing.assert_allclose(losses.pearson_features(teacher, 7 * student + 2), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.pearson_features(teacher, 3 - teacher), 2, rtol=1e-5)


def test_a_channel_that_is_constant_has_a_small_gradient():
    teacher = np.random.default_rng(2).normal(size=(8, 2)).astype("float32")
    student = tf.Variable(np.stack([teacher[:, 0], np.full(8, 3.0)], axis=1).astype("float32"))
    with tf.GradientTape() as tape:
        value = losses.pearson_features(teacher, student)
    # Half of the teacher's variance of 1, for one channel of two.
    np.testing.assert_allclose(value, 0.25, rtol=1e-4)
    assert np.abs(tape.gradient(value, student)).max() < 1e3


def test_a_simple_recipe_of_one_example_is_a_constant():
    student = tf.Variable([[2.0, 3.0]])
    with tf.GradientTape() as tape:
        value = losses.simple_recipe([[1.0, 5.0]], student)
    np.testing.assert_allclose(value, np.log(1e-5), rtol=1e-6)
    np.testing.assert_array_equal(tape.gradient(value, student), [[0.0, 0.0]])


def test_prime_aware_predicts_variances_from_the_students_features():
    teacher, student = np.random.default_rng(2).normal(size=(2, 6, 5)).astype("float32")
    loss = losses.PrimeAware("a", "b")
    loss.build((None, 5), (None, 5))
    value = loss(teacher, student, training=True)
    hidden = student @ loss.estimators[0].layers[0].kernel.numpy()
    log_variance = (hidden - hidden.mean(0)) / np.sqrt(hidden.var(0) + 1e-5)
    np.testing.assert_allclose(value, losses.prime_aware(teacher, student, log_variance), rtol=1e-4)


def test_masks_of_a_generation_block():
    maps = np.ones((4, 16, 16, 3), "float32")
    loss = losses.MaskedGenerative("a", "b", masked=0.3, seed=1)
    loss.build((None, 16, 16, 3), (None, 16, 16, 3))
    seen = []
    loss.generators = [lambda kept: seen.append(kept.numpy()) or kept]
    values = [loss.call(maps, maps), loss.call(maps, maps)]
    # Whole positions are 0, others for each example and step.
    assert all(set(np.unique(each.sum(-1))) == {0, 3} for each in seen)
    assert np.mean(seen) == pytest.approx(0.7, abs=0.03)
    assert (seen[0] != seen[1]).any() and (seen[0][0] != seen[0][1]).any()
    np.testing.assert_allclose(values[0], (1 - seen[0]).sum((1, 2, 3)))


def test_non_local_blocks_relate_all_pairs_of_positions():
    from tfkd.losses._attention_guided import NonLocal

    x = np.random.default_rng(2).normal(size=(2, 6, 4)).astype("float32")
    mask = np.arange(6) < np.array([[6], [4]])
    block = NonLocal()
    block.build((None, None, 4))
    np.testing.assert_allclose(block(x, mask=mask), x)
    block.outwards.kernel.assign(np.random.default_rng(3).normal(size=(2, 4)))
    query, key, value = (layer(x).numpy() for layer in (block.query, block.key, block.value))
    expected = x.copy()
    for b, length in enumerate((6, 4)):
        for i in range(length):
            related = sum((query[b, i] @ key[b, j]) * value[b, j] for j in range(length)) / length
            expected[b, i] += block.outwards(related[None]).numpy()[0]
    np.testing.assert_allclose(block(x, mask=mask), expected, rtol=1e-4, atol=1e-5)


def test_attention_guided_adds_relations_that_begin_as_features():
    teacher, student = np.random.default_rng(2).normal(size=(2, 2, 3, 3, 4)).astype("float32")
    loss = losses.AttentionGuided("a", "b", non_local_weight=2.0)
    loss.build((None, 3, 3, 4), (None, 3, 3, 4))
    projected = loss.projectors[0](student)
    distances = np.linalg.norm((teacher - projected).numpy().reshape(2, -1), axis=1)
    expected = losses.attention_guided(teacher, projected) + 2.0 * distances
    np.testing.assert_allclose(loss(teacher, student), expected, rtol=1e-5)


# What a loss of one's own may take.
def test_parameters_of_call_are_filled_by_name():
    class Everything(losses.KnowledgeLoss):
        def call(self, teacher, student, labels, mask=None, training=None):
            return labels

    loss = Everything()
    batch = losses.Batch(labels=1, index=2, sample_weight=3, training=True)
    assert loss.arguments(batch) == {"labels": 1, "mask": None, "training": True}
    with pytest.raises(ValueError, match="`y` is missing: the loss 'everything' needs labels"):
        loss.arguments(losses.Batch(index=2))


@pytest.mark.parametrize("name", losses.Batch._fields)
def test_what_a_loss_needs_and_there_is_not_is_said(name):
    class Needy(losses.FeatureLoss):
        needs = (name,)

    with pytest.raises(ValueError, match=r"[Tt]he loss 'needy' needs"):
        Needy("a", "b").arguments(losses.Batch())
    assert Needy("a", "b").arguments(losses.Batch(**{name: 1}))[name] == 1


def test_misspelt_names_are_refused_where_the_loss_is_defined():
    known = "Did you mean 'labels'.*Known: index, labels, mask, sample_weight, training"
    with pytest.raises(ValueError, match=f"parameter of Misspelt.call 'lables'.*{known}"):

        class Misspelt(losses.KnowledgeLoss):
            def call(self, teacher, student, lables=None):
                return lables

    with pytest.raises(ValueError, match=f"name in Wrong.needs 'lable'.*{known}"):

        class Wrong(losses.FeatureLoss):
            needs = ("lable",)


def test_an_old_signature_of_compare_is_refused_with_the_new_one():
    with pytest.raises(
        TypeError, match=r"must take \(self, teacher, student, batch\).*batch.sample_weight"
    ):

        class Old(losses.FeatureLoss):
            def compare(self, teacher, student, sample_weight=None):
                return 0.0


def test_a_loss_without_a_computation_says_what_it_lacks():
    with pytest.raises(NotImplementedError, match=r"FeatureLoss must implement compare\(teacher"):
        losses.FeatureLoss("a", "b").call(np.ones((2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("decoupled", "decoupled_knowledge"),
        ("hierarchical_context", "review_kd"),
        ("label_smoothing_teacher", "teacher_free"),
        ("multi_level", "multi_level_logits"),
        ("Review", "ReviewKD"),
        ("RelationLoss", "FeatureLoss"),
    ],
)
def test_old_names_work_and_say_the_new_ones(old, new):
    with pytest.warns(DeprecationWarning, match=f"losses.{old} is now called tfkd.losses.{new}"):
        assert getattr(losses, old) is getattr(losses, new)
    assert old not in losses.__all__


def test_files_with_the_old_name_of_a_class_load():
    config = {"name": "review", "teacher_layer": ["a"], "student_layer": ["b"], "width": 4}
    saved = {"class_name": "Review", "module": "tfkd.losses.review", "registered_name": "tfkd>Review"}
    loss = keras.saving.deserialize_keras_object({**saved, "config": config})
    assert isinstance(loss, losses.ReviewKD) and loss.width == 4


# Bad input.
@pytest.mark.parametrize(
    "name", ["soft_targets", "bernoulli_targets", "dist", "multi_level_logits", "l1_logits"]
)
def test_logits_that_cannot_match(name):
    with pytest.raises(ValueError, match=r"same shape.*teacher \(2, 3\), student \(2, 4\)"):
        METHODS[name].function(np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize(
    "name",
    [
        "hint",
        "cosine_embedding",
        "activation_boundary",
        "fsp",
        "simple_recipe",
        "pearson_features",
        "masked_generative",
        "channel_wise",
        "inter_channel_correlation",
        "attention_guided",
    ],
)
def test_widths_that_cannot_match(name):
    with pytest.raises(ValueError, match="projector=True"):
        METHODS[name].function(np.zeros((2, 4, 4, 6)), np.zeros((2, 4, 4, 8)))


@pytest.mark.parametrize(
    "name",
    [
        "attention_transfer",
        "neuron_selectivity",
        "factor_transfer",
        "channel_wise",
        "inter_channel_correlation",
        "attention_guided",
    ],
)
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
        (lambda: losses.BernoulliTargets(0), "`temperature` must be above 0"),
        (lambda: losses.FSP("a", "b"), "list of at least two layers"),
        (lambda: losses.SingularValues(["a"], ["b"]), "list of at least two layers"),
        (lambda: losses.Hint(["a", "b"], ["c"]), "the same number of layers"),
        (
            lambda: losses.Hint(["a", "b"], ["c", "d"], projector=keras.layers.Dense(3)),
            "each of the 2 pairs",
        ),
        (lambda: losses.ReviewKD(["a"], ["b"], width=0), "`width` must be an integer of at least 1"),
        (lambda: losses.ReviewKD(["a"], ["b"], projector=True), "`ReviewKD` takes no `projector`"),
        (lambda: losses.FactorTransfer("a", "b", rate=0), "`rate` must be above 0"),
        (lambda: losses.FactorTransfer(["a"], ["b"]), "one pair of layers"),
        (lambda: losses.Contrastive("a", "b", examples=0), "`examples` must be an integer of at least 1"),
        (
            lambda: losses.Contrastive("a", "b", examples=9, momentum=1.0),
            "`momentum` must be at least 0 and below 1",
        ),
        (lambda: losses.contrastive(np.ones((2, 1)), 9), "at least one negative"),
        (lambda: losses.WeightedSoftTargets(0), "`temperature` must be above 0"),
        (lambda: losses.ChannelWise("a", "b", temperature=0), "`temperature` must be above 0"),
        (lambda: losses.SimpleRecipe("a", "b", exponent=0.5), "`exponent` must be at least 1"),
        (lambda: losses.MaskedGenerative("a", "b", masked=1.0), "`masked` must be at least 0 and below 1"),
        (lambda: losses.AttentionGuided("a", "b", masked_weight=-1), "`masked_weight` must be at least 0"),
        (lambda: losses.SelfSupervised(["a", "b"], ["a", "b"], kept=2), "`kept` must be"),
        (lambda: losses.InterChannelCorrelation("a", "b", grid=(0, 1)), "`grid` must be an integer"),
        (
            lambda: losses.inter_channel_correlation(*np.zeros((2, 1, 4, 4, 2)), grid=(2, 3)),
            r"`grid` must divide the maps' height and width.*\(2, 3\)",
        ),
        (
            lambda: losses.inter_channel_correlation(*np.zeros((2, 1, 4, 2)), grid=(2, 1)),
            r"must have maps \(batch, height, width, channels\)",
        ),
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
    with pytest.raises(ValueError, match="`projector` must be None if `channels` is given"):
        losses.Hint("a", "b", projector=True, channels=[[1]])


def test_relative_hint_leaves_padding_out():
    teacher, student = np.ones((1, 4, 3), "float32"), np.zeros((1, 4, 3), "float32")
    loss = losses.Hint("a", "b", relative=True)
    mask = np.array([[True, False, False, False]])
    np.testing.assert_allclose(loss.call(teacher, student, mask=mask), [1.0], rtol=1e-6)
    np.testing.assert_allclose(loss.call(0 * teacher, student), [0.0])


@pytest.mark.parametrize("name", ["factor_transfer", "paraphrasing", "review_kd", "masked_generative"])
def test_convolutions_over_sequences_are_refused(name):
    with pytest.raises(
        ValueError, match=r"must have maps \(batch, height, width, channels\).*\(None, 6, 5\)"
    ):
        loss = METHODS[name].make()
        shapes = [(None, 6, 5)] * 2 if METHODS[name].at == "several" else (None, 6, 5)
        loss.build(shapes, shapes)


def test_relations_of_many_classes_need_matrices_of_the_batch_alone():
    teacher, student = np.random.default_rng(0).normal(size=(2, 5, 40))
    wide = losses.multi_level_logits(teacher, student, [2.0], instance=0.0, batch=0.0)
    p, q = (np.exp(z / 2) / np.exp(z / 2).sum(-1, keepdims=True) for z in (teacher, student))
    expected = np.sum((p.T @ p - q.T @ q) ** 2) / 40
    np.testing.assert_allclose(wide, expected, rtol=1e-5)

    @tf.function
    def largest(teacher, student):
        return losses.multi_level_logits(teacher, student)

    graph = largest.get_concrete_function(*[tf.TensorSpec((5, 40))] * 2).graph
    sizes = [output.shape.num_elements() or 0 for op in graph.get_operations() for output in op.outputs]
    assert max(sizes) == 5 * 40


@pytest.mark.parametrize("batch", [4, None])
@pytest.mark.parametrize("kind", [losses.CosineEmbedding, losses.CorrelationCongruence])
def test_flattened_features_of_two_sizes_are_refused_whatever_the_batch(kind, batch):
    loss = kind("a", "b")

    @tf.function(input_signature=[tf.TensorSpec((batch, 3, 2)), tf.TensorSpec((batch, 5, 2))])
    def compare(teacher, student):
        return loss(teacher, student)

    with pytest.raises(ValueError, match=r"`teacher` and `student` must"):
        compare.get_concrete_function()


def test_masks_of_evaluation_stay_and_take_nothing_from_training():
    loss = losses.MaskedGenerative("a", "b", seed=1)
    loss.build((None, 4, 4, 3), (None, 4, 4, 3))
    teacher, student = np.random.default_rng(0).normal(size=(2, 2, 4, 4, 3)).astype("float32")
    state = loss.seed_generator.state.numpy()
    first, second = (loss(teacher, student, training=False) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(loss.seed_generator.state, state)
    drawn = [loss(teacher, student, training=True) for _ in range(2)]
    assert not np.array_equal(*drawn)


def test_a_temperature_that_was_set_later_is_saved_for_every_teacher():
    loss = losses.WeightedTeachers(losses.SoftTargets(4.0), ["a", "b"])
    for part in loss.computed():
        part.temperature = 2.0
    again = losses.WeightedTeachers.from_config(loss.get_config())
    assert [part.temperature for part in again.computed()] == [2.0, 2.0]
    assert [part.teacher_layer for part in again.computed()] == ["a", "b"]
