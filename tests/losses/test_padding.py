"""Padding in a distiller: the same sequences, once padded, train the same student."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.losses.methods import METHODS
from tests.losses.networks import SEQUENCES, sequence_network
from tfkd import losses
from tfkd.distilling._forward import reduced_loss
from tfkd.losses._base import Batch

# Keras before 3.12 has none.
distillation = pytest.importorskip("keras.distillation")

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
PADDABLE = [name for name, method in METHODS.items() if not method.no_sequences]


def series(padding=0):
    """Six series of five steps, labels of the steps, and weights of the steps, which padding has too."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 5, 2)).astype("float32"), rng.integers(0, 3, (6, 5))
    weights = rng.uniform(size=(6, 5)).astype("float32")
    behind = (0, 0), (0, padding)
    return np.pad(x, (*behind, (0, 0))), np.pad(y, behind), np.pad(weights, behind, constant_values=9.0)


@pytest.fixture
def networks():
    return sequence_network(), sequence_network()


def one_step(networks, loss, data):
    """The loss of a step, and the student after it."""
    keras.utils.set_random_seed(1)
    teacher, student = networks[0], keras.models.clone_model(networks[1])
    student.set_weights(networks[1].get_weights())
    distiller = tfkd.Distiller(teacher, student, loss, student_loss_weight=0.0)
    # One step is not worth a graph.
    distiller.compile(keras.optimizers.SGD(0.01), LABELS_LOSS, run_eagerly=True)
    logs = distiller.fit(tf.data.Dataset.from_tensors(data), verbose=0).history
    return logs["loss"][0], student


@pytest.mark.parametrize("name", PADDABLE)
def test_padding_changes_nothing(name, networks):
    x, y, _ = series()
    padded_x, padded_y, _ = series(padding=3)
    value, student = one_step(networks, METHODS[name].make(SEQUENCES), (x, y))
    padded, other = one_step(networks, METHODS[name].make(SEQUENCES), (padded_x, padded_y))
    assert value != 0 and padded == pytest.approx(value, rel=1e-4)
    harness.assert_other_weights(networks[1].get_weights(), student.weights)
    for mine, theirs in zip(student.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "soft_targets",
        "dist",
        "hint",
        "cosine_embedding",
        "similarity_preserving",
        "pearson_features",
        "simple_recipe",
    ],
)
def test_weights_of_padding_do_not_count(name, networks):
    values = [one_step(networks, METHODS[name].make(SEQUENCES), series(padding))[0] for padding in (0, 3)]
    assert values[1] == pytest.approx(values[0], rel=1e-4)


@pytest.mark.parametrize("name", ["hint", "similarity_preserving", "pearson_features", "simple_recipe"])
def test_weights_of_steps_weigh_examples_where_a_loss_is_on_examples(name, networks):
    x, y, weights = series()
    values = [
        one_step(networks, METHODS[name].make(SEQUENCES), (x, y, each))[0]
        for each in (weights, weights.mean(1))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_losses_of_keras_leave_padding_out(networks):
    def with_two_outputs(network):
        more = layers.Dense(2, name="more")(network.get_layer("relu").output)
        return keras.Model(network.inputs, [network.output, more])

    both = tuple(map(with_two_outputs, networks))
    kl = keras.losses.KLDivergence()
    for pair, loss in (
        (networks, distillation.LogitsDistillation(2.0, kl)),
        (networks, distillation.FeatureDistillation("mse", "hidden", "hidden")),
        (both, distillation.LogitsDistillation(2.0, [kl, "mse"])),
    ):
        values = []
        for padding in (0, 3):
            distiller = tfkd.Distiller(*pair, loss, student_loss_weight=0.0)
            distiller.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
            values.append(distiller.fit(series(padding)[0], verbose=0).history["loss"][0])
        assert values[0] > 0 and values[1] == pytest.approx(values[0], rel=1e-4)


def test_padding_of_any_confidence_leaves_gradients_finite():
    """Probabilities of labels that float32 cannot hold, and a batch of nothing but padding."""
    teacher = np.zeros((2, 3, 4), "float32")
    teacher[:, 0, 0], teacher[:, 1:, 0] = -300, 300
    student, loss = tf.zeros((2, 3, 4)), losses.ConfidenceWeighted(losses.SoftTargets(), of="label")
    for counts in ([True, False, False], [False] * 3):
        mask = tf.constant([counts] * 2)
        with tf.GradientTape() as tape:
            tape.watch(student)
            batch = Batch(labels=np.zeros((2, 3), int), mask=mask)
            value = reduced_loss(loss, tf.constant(teacher), student, batch)
        expected = np.mean(losses.soft_targets(teacher[:, 0], student[:, 0], 1.0)) if any(counts) else 0
        assert float(value) == pytest.approx(expected, rel=1e-5)
        assert np.isfinite(tape.gradient(value, student)).all()


def test_a_loss_may_ask_for_the_mask():
    class Counting(losses.FeatureLoss):
        """How many positions count, for each example."""

        def compare(self, teacher, student, batch):
            return tf.reduce_sum(tf.cast(batch.mask, "float32"), axis=1) + 0 * tf.reduce_sum(student)

    value, _ = one_step((sequence_network(),) * 2, Counting("hidden", "hidden"), series(padding=3)[:2])
    assert value == 5
