"""Gathering the examples of two replicas."""

import numpy as np
import pytest
import tensorflow as tf

from tfkd._core.replicas import gathered, in_replicas, own_rows

pytestmark = pytest.mark.eager


def by_replica(strategy, values):
    """Values that differ by replica, for `strategy.run`."""
    return strategy.experimental_distribute_values_from_function(
        lambda context: values[context.replica_id_in_sync_group]
    )


def results(strategy, function, *values):
    return strategy.experimental_local_results(
        strategy.run(function, [by_replica(strategy, each) for each in values])
    )


@pytest.mark.parametrize("shares", [(2, 2), (3, 1), (2, 0), (0, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int32", "int64", "uint8", "bool"])
def test_all_examples_in_order_whatever_the_shares(strategy, shares, dtype):
    whole = tf.cast(np.arange(2 * sum(shares)).reshape(-1, 2) % 5, dtype)
    for each in results(strategy, gathered, tf.split(whole, shares)):
        assert each.dtype == dtype
        np.testing.assert_array_equal(each, whole)


def test_graph_keeps_structures_and_shapes(strategy):
    # A step that is not marked `eager`.
    shares = tf.ones((2, 3)), tf.zeros((1, 3))

    def step(values):
        received = gathered({"a": (values, None)})
        assert received["a"][1] is None and received["a"][0].shape[1:] == (3,)
        return received["a"][0]

    for each in results(strategy, tf.function(step), shares):
        np.testing.assert_array_equal(each, tf.concat(shares, 0))


@pytest.mark.parametrize("shares", [(2, 2), (3, 1), (4, 0)])
def test_gradients_of_a_value_of_all_examples_add_up(strategy, shares):
    x = tf.constant(np.random.default_rng(0).normal(size=(4, 3)).astype("float32"))
    kernel = tf.constant(np.linspace(-1, 1, 6).reshape(3, 2).astype("float32"))

    def related(features):
        return tf.reduce_sum(tf.tanh(features @ tf.transpose(features)) ** 2)

    def share(x):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            value = related(gathered(x @ kernel)) / 2
        return tape.gradient(value, kernel)

    with tf.GradientTape() as tape:
        tape.watch(kernel)
        expected = related(x @ kernel)
    np.testing.assert_allclose(
        sum(results(strategy, share, tf.split(x, shares))), tape.gradient(expected, kernel), rtol=1e-5
    )


@pytest.mark.parametrize("shares", [(2, 2), (3, 1), (0, 4)])
def test_own_rows_are_the_share(strategy, shares):
    each = tf.split(tf.range(8.0), [2 * share for share in shares])
    of_all = results(strategy, lambda own: own_rows(2 * gathered(own), own), each)
    for own, rows in zip(each, of_all, strict=True):
        np.testing.assert_array_equal(rows, 2 * own)


def test_one_replica_and_between_replicas_values_stay_as_they_are(strategy):
    values = {"a": tf.ones(2), "b": None}
    assert gathered(values) is values and own_rows(values["a"], values["a"]) is values["a"]
    with strategy.scope():
        assert not in_replicas() and gathered(values) is values
