"""Losses under `tf.distribute`: those over a batch see that of all replicas."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, tree

import tfkd
from tests.losses.methods import METHODS
from tests.losses.networks import IMAGES
from tfkd import losses
from tfkd.distilling._forward import reduced_loss
from tfkd.distilling._steps import replicas

OVER_BATCH = [name for name, method in METHODS.items() if method.make().over_batch]
# The first two draw numbers; learned weights make a gradient of the batch, and no other value; relative
# hints need no more of the batch than a mean.
UNTOLD = {"contrastive", "masked_generative", "weighted_teachers", "hint_of_chosen_channels"}


def made(name, values):
    """The loss, its parts made for values of teacher and student, the same every time."""
    keras.utils.set_random_seed(3)
    loss = METHODS[name].make()
    if not loss.built:
        loss.build(*tree.map_structure_up_to(values, lambda x: (None, *x.shape[1:]), values))
    return loss


def labels_of(teacher):
    return tf.argmin(tree.flatten(teacher)[-1], axis=-1)


@pytest.mark.eager
@pytest.mark.parametrize("name", sorted(METHODS.keys() - UNTOLD))
def test_losses_tell_whether_an_example_depends_on_others(name):
    """Those that do not have the same mean in two halves of a batch as in all of it."""
    first = tree.map_structure(tf.constant, METHODS[name].inputs())
    second = tree.map_structure(lambda x: 0.5 * tf.roll(x, 1, axis=-1), first)
    whole = tree.map_structure(lambda *both: tf.concat(both, 0), first, second)
    loss = made(name, first)

    def value(teacher, student):
        return reduced_loss(loss, teacher, student, losses.Batch(labels_of(teacher), training=False))

    alike = np.mean([value(*first), value(*second)]) == pytest.approx(float(value(*whole)), rel=1e-5)
    assert loss.over_batch != alike


def gradients(loss, teacher, student, weights, labels):
    """A replica's share of the loss, and its gradients by the student's values and by trained parts."""
    parts = [variable.value for variable in loss.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(student)
        batch = losses.Batch(labels, sample_weight=weights, training=True)
        value = reduced_loss(loss, teacher, student, batch) / replicas()
    by = [tape.gradient(value, to, unconnected_gradients="zero") for to in (tree.flatten(student), parts)]
    return value, *by


@pytest.mark.eager
@pytest.mark.parametrize("name", OVER_BATCH)
def test_two_replicas_have_the_gradients_of_one(name, strategy):
    """With weights, and shares of two sizes; rotations of an image belong together."""
    values = METHODS[name].inputs()
    examples = len(tree.flatten(values)[0])
    weights = np.linspace(0.5, 1.5, examples).astype("float32")
    whole = tree.map_structure(tf.constant, (*values, weights, labels_of(values[0])))
    value, by_student, by_parts = gradients(made(name, values), *whole)

    sizes = [examples - 4, 4] if METHODS[name].at == "ending" else [examples - 2, 2]
    shares = tree.map_structure(lambda x: divided(strategy, x, sizes), whole)
    with strategy.scope():
        loss = made(name, values)
    received = strategy.run(lambda *share: gradients(loss, *share), shares)
    of_each = tree.map_structure(strategy.experimental_local_results, received[1:])
    np.testing.assert_allclose(sum(strategy.experimental_local_results(received[0])), value, rtol=1e-5)
    for expected, rows in zip(by_student, of_each[0], strict=True):
        np.testing.assert_allclose(tf.concat(rows, 0), expected, rtol=1e-4, atol=1e-6)
    for expected, each in zip(by_parts, of_each[1], strict=True):
        np.testing.assert_allclose(sum(each), expected, rtol=1e-4, atol=1e-6)


def divided(strategy, values, sizes):
    shares = tf.split(values, sizes)
    return strategy.experimental_distribute_values_from_function(
        lambda context: shares[context.replica_id_in_sync_group]
    )


def dense_network(width):
    """Layers of the names that `IMAGES` looks for."""
    hidden = layers.Dense(width, activation="tanh", name="relu1")
    return keras.Sequential([keras.Input((6,)), hidden, layers.Dense(5, name="logits")])


def trained(name, scope, examples):
    """The weights after an epoch of plain gradient descent on batches of eight, the value, and the loss."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(16, 6)).astype("float32"), rng.integers(0, 5, 16)
    dataset = tf.data.Dataset.from_tensor_slices((x, y, rng.uniform(0.5, 1.5, 16))).take(examples)
    with scope:
        teacher, student = dense_network(6), dense_network(4)
        loss = METHODS[name].make(IMAGES)
        distiller = tfkd.Distiller(teacher, student, loss, student_loss_weight=0.0)
        distiller.compile(keras.optimizers.SGD(0.05))
    logs = distiller.fit(tfkd.with_index(dataset, batched=False).batch(8), verbose=0).history
    return [v.numpy() for v in [*student.weights, *loss.trainable_variables]], logs["loss"], loss


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "examples", "atol"),
    [("soft_targets", 12, 1e-6), ("relational", 11, 1e-5), ("dist", 9, 1e-5), ("contrastive", 12, 1e-5)],
)
def test_two_replicas_learn_what_one_does(name, examples, atol, strategy):
    """Losses over a batch also where the last one leaves a replica with fewer examples, or with none."""
    one = trained(name, contextlib.nullcontext(), examples)
    two = trained(name, strategy.scope(), examples)
    for expected, received in zip(one[0], two[0], strict=True):
        np.testing.assert_allclose(received, expected, atol=atol)
    np.testing.assert_allclose(two[1], one[1], rtol=1e-5)
    if name == "contrastive":
        assert_same_in_all_replicas(two[2], strategy)


def assert_same_in_all_replicas(loss, strategy):
    for variable in (v for side in loss.embeddings.values() for v in side[1:]):
        first, second = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(first, second)


@pytest.mark.eager
def test_replicas_may_stay_by_themselves(strategy):
    values = tree.map_structure(tf.constant, METHODS["relational"].inputs())
    loss = METHODS["relational"].make(across_replicas=False)
    shares = tree.map_structure(lambda x: divided(strategy, x, [2, len(x) - 2]), values)
    received = strategy.run(lambda *share: reduced_loss(loss, *share, losses.Batch()), shares)
    expected = [loss(*(tf.split(x, [2, len(x) - 2])[i] for x in values)) for i in range(2)]
    np.testing.assert_allclose(strategy.experimental_local_results(received), expected, rtol=1e-6)


@pytest.mark.eager
def test_relative_distances_are_divided_by_the_mean_of_all_replicas(strategy):
    """Of which replicas send each other nothing else."""
    rng = np.random.default_rng(1)
    teacher, student = (tf.constant(rng.normal(size=(6, 3)).astype("float32")) for _ in range(2))
    loss = losses.Hint("a", "b", relative=True)
    shares = tree.map_structure(lambda x: divided(strategy, x, [4, 2]), (teacher, student))
    received = strategy.run(lambda *share: loss(*share), shares)
    rows = tf.concat(strategy.experimental_local_results(received), 0)
    np.testing.assert_allclose(rows, loss(teacher, student), rtol=1e-5)
    by_themselves = losses.Hint("a", "b", relative=True, across_replicas=False)
    received = strategy.run(lambda *share: by_themselves(*share), shares)
    first = strategy.experimental_local_results(received)[0]
    np.testing.assert_allclose(first, by_themselves(teacher[:4], student[:4]), rtol=1e-5)


@pytest.mark.parametrize("name", ["relational", "dist", "relative_dissimilarity", "self_supervised"])
def test_the_option_is_saved(name):
    loss = METHODS[name].make(across_replicas=False)
    assert not type(loss).from_config(loss.get_config()).across_replicas


def test_losses_around_others_ask_those():
    relations = losses.Relational("a", "b", across_replicas=False)
    assert losses.within(relations).over_batch and not losses.within(relations).across_replicas
    of_each = losses.WeightedTeachers(losses.Relational(None, "b"), ["first/a", "second/a"])
    assert of_each.over_batch and of_each.across_replicas
    assert not losses.WeightedTeachers(losses.Hint(None, "b"), ["first/a", "second/a"]).over_batch
