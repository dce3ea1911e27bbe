"""Every method in a distiller: trained parts, masks, sample weights, mixed precision, files."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tests.losses.methods import METHODS
from tests.losses.networks import IMAGES, networks_of_images
from tfkd import losses

pytestmark = [pytest.mark.slow, pytest.mark.eager]

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(params=METHODS)
def case(request, teacher):
    """A loss, a teacher it can look into, and what makes students."""
    return METHODS[request.param].make(IMAGES), *networks_of_images(request.param, teacher)


# What trains a part of a loss, in a stage before.
FIRST_STAGES = losses.Paraphrasing, losses.PretextTask


def frozen(loss, path):
    """Whether a stage leaves a part of its loss alone."""
    of_first_stage = "paraphraser" in path or "teacher_head" in path
    if isinstance(loss, FIRST_STAGES):
        return not of_first_stage
    return isinstance(loss, losses.FactorTransfer | losses.SelfSupervised) and of_first_stage


def dataset(weights=None):
    x, y = blobs(32)
    arrays = (x, y) if weights is None else (x, y, weights)
    return tfkd.with_index(tf.data.Dataset.from_tensor_slices(arrays), batched=False).batch(16)


def compiled(teacher, student, loss, **kwargs):
    distiller = tfkd.Distiller(teacher, student, loss, student_loss_weight=0.0)
    distiller.compile(keras.optimizers.Adam(1e-3), LABELS_LOSS, **kwargs)
    return distiller


def test_one_epoch_and_a_file(case, tmp_path):
    """Trains what is the loss's own, leaves the teacher alone, and goes on after loading."""
    loss, teacher, make_student = case
    student, before = make_student(4), harness.snapshot(teacher)
    distiller = compiled(teacher, student, loss)
    parts = [v.numpy() for v in loss.trainable_variables]
    started = harness.snapshot(student)
    distiller.fit(dataset(), verbose=0)
    harness.assert_same_weights(before, teacher)
    for start, part in zip(parts, loss.trainable_variables, strict=True):
        assert np.array_equal(start, part) == frozen(loss, part.path), part.path
    if not isinstance(loss, FIRST_STAGES):
        harness.assert_other_weights(started, student.weights)

    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    loaded.teacher = teacher
    logs = [model.fit(dataset(), verbose=0).history["loss"] for model in (distiller, loaded)]
    np.testing.assert_allclose(*logs, rtol=1e-3)
    assert np.isfinite(logs).all()


def test_in_half_precision_zero_weights_teach_nothing(case):
    # TensorFlow has no second derivative of max pooling in bfloat16.
    second_order = isinstance(case[0], losses.GradientAttention)
    assert_zero_weights_teach_nothing(*case, "float32" if second_order else "mixed_bfloat16")


# Of the output, of features and of attention, with parts that are trained and parts that are remembered.
@pytest.mark.parametrize("name", ["soft_targets", "relational", "review_kd", "contrastive", "attention_kl"])
def test_in_half_precision_under_xla_zero_weights_teach_nothing(name, teacher):
    case = METHODS[name].make(IMAGES), *networks_of_images(name, teacher)
    assert_zero_weights_teach_nothing(*case, "mixed_bfloat16", jit_compile=True)


def assert_zero_weights_teach_nothing(loss, teacher, make_student, policy, **kwargs):
    keras.config.set_dtype_policy(policy)
    try:
        student = make_student(4)
    finally:
        keras.config.set_dtype_policy("float32")
    distiller = compiled(teacher, student, loss, **kwargs)
    before = [v.numpy() for v in student.trainable_variables]
    history = distiller.fit(dataset(np.zeros(32, "float32")), verbose=0).history
    assert history["loss"] == [0.0]
    for kept, variable in zip(before, student.trainable_variables, strict=True):
        np.testing.assert_allclose(kept, variable, atol=1e-7)
    distiller.fit(dataset(np.ones(32, "float32")), verbose=0)
    assert all(np.isfinite(weight).all() for weight in student.get_weights())
    assert {v.dtype for v in loss.trainable_variables} <= {"float32"}


@pytest.mark.parametrize("name", ["overhaul", "activation_boundary"])
def test_projectors_of_dense_layers(name, teacher):
    """Before a ReLU there may also be a dense layer."""
    features = keras.Input((6,))
    x = layers.BatchNormalization(name="norm")(layers.Dense(5)(features))
    tutor = keras.Model(features, layers.Dense(2)(layers.ReLU()(x)))
    student = keras.Sequential([features, layers.Dense(3, name="hidden"), layers.Dense(2)])
    kind = losses.Overhaul if name == "overhaul" else losses.ActivationBoundary
    distiller = tfkd.Distiller(
        tutor, student, kind("norm", "hidden", projector=True), student_loss_weight=0.0
    )
    distiller.compile("adam")
    assert np.isfinite(distiller.fit(np.ones((4, 6), "float32"), verbose=0).history["loss"]).all()


def test_contrastive_remembers_what_it_saw(teacher):
    loss = METHODS["contrastive"].make(IMAGES)
    distiller = compiled(teacher, small_network(4), loss)
    before = loss.embeddings["student"][1].numpy()
    distiller.fit(dataset().take(1), verbose=0)
    after = loss.embeddings["student"][1].numpy()
    assert (before[:16] != after[:16]).all() and (before[16:] == after[16:]).all()
    np.testing.assert_allclose(np.linalg.norm(after[:16], axis=1), 1, rtol=1e-5)
    normalizer = loss.embeddings["student"][2].numpy()
    distiller.fit(dataset(), verbose=0)
    assert loss.embeddings["student"][2].numpy() == normalizer > 0


def test_factor_transfer_in_two_stages_trains_the_paraphraser_first(teacher):
    transfer = losses.FactorTransfer(*IMAGES.middle)
    student = small_network(4)
    start = harness.snapshot(student)
    compiled(teacher, student, transfer.paraphrasing()).fit(dataset(), verbose=0)
    # Batch normalization's statistics move with every pass.
    np.testing.assert_array_equal(start[0], student.weights[0])
    trained = [v.numpy() for v in transfer.paraphraser.trainable_variables]
    compiled(teacher, student, transfer).fit(dataset(), verbose=0)
    harness.assert_same_weights(trained, transfer.paraphraser)


def test_overhaul_takes_margins_from_the_teacher_and_needs_batch_normalization(teacher):
    loss = METHODS["overhaul"].make(IMAGES)
    compiled(teacher, small_network(4), loss)
    from tfkd.losses._overhaul import batch_norm_margin

    np.testing.assert_allclose(loss.margins[0], batch_norm_margin(teacher.get_layer("norm1")))
    with pytest.raises(ValueError, match=r"path of a BatchNormalization layer.*'relu1', a ReLU"):
        tfkd.Distiller(teacher, small_network(4), losses.Overhaul("relu1", "norm1"))


def test_weights_of_several_pairs(teacher):
    """Pairs add up; activation boundaries and overhaul halve from the last layer down."""
    student, (x, _) = small_network(8), blobs(8)
    taps = ["norm1", "conv2"]
    with tfkd.taps.record(teacher, taps) as t, tfkd.taps.record(student, taps) as s:
        teacher(x), student(x)
    teachers, students = ([seen[tap] for tap in taps] for seen in (t, s))
    for build, shares in (
        (losses.Hint, (1, 1)),
        (losses.AttentionTransfer, (1, 1)),
        (losses.ActivationBoundary, (0.5, 1)),
    ):
        both = build(taps, taps)(teachers, students)
        single = [build(tap, tap)(a, b) for tap, a, b in zip(taps, teachers, students, strict=True)]
        np.testing.assert_allclose(both, shares[0] * single[0] + shares[1] * single[1], rtol=1e-5)


def test_what_is_missing_is_said(teacher, student):
    x, y = blobs(16)
    for loss, data, message in (
        (losses.DecoupledKnowledge(), (x,), "`y` is missing: the loss 'decoupled_knowledge' needs labels"),
        (
            losses.WeightedSoftTargets(),
            (x,),
            "`y` is missing: the loss 'weighted_soft_targets' needs labels",
        ),
        (losses.GradientAttention(), (x,), "`y` must be the labels"),
        (METHODS["contrastive"].make(IMAGES), (x, y), r"'contrastive' needs the index.*tfkd\.with_index"),
        (losses.Hint(*IMAGES.middle), (x, y), "projector=True"),
    ):
        with pytest.raises(ValueError, match=message):
            compiled(teacher, student, loss).fit(*data, verbose=0)


@pytest.mark.parametrize(
    "name",
    [
        "similarity_preserving",
        "relational",
        "probabilistic_transfer",
        "dist",
        "simple_recipe",
        "pearson_features",
    ],
)
def test_relations_of_a_batch_of_one_teach_nothing_harmful(name, teacher, student):
    distiller = compiled(teacher, student, METHODS[name].make(IMAGES))
    distiller.train_on_batch(*blobs(1))
    assert all(np.isfinite(weight).all() for weight in student.get_weights())
