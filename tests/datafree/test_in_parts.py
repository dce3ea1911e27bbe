"""A batch in parts comes to what the whole comes to, in a loop whose graph is that of one part."""

import numpy as np
import pytest
import tensorflow as tf

from tfkd.datafree import _in_parts as in_parts

X = np.arange(22, dtype="float32").reshape(11, 2)


def looked_at(x, given):
    """Sums with what is given, and for each row how many its part had."""
    rows = x.shape[0]
    return {"sums": x + given["by"], "rows": tf.fill((rows,), rows)}


def called(function, eagerly, jit_compile):
    return function() if eagerly else tf.function(function, jit_compile=jit_compile, autograph=False)()


WAYS = pytest.mark.parametrize(
    ("eagerly", "jit_compile"),
    [(True, False), (False, False), pytest.param(False, True, marks=pytest.mark.xla)],
    ids=["eager", "graph", "xla"],
)


@WAYS
@pytest.mark.parametrize("parts", [1, 3, 4, 11, 20])
def test_concatenated_parts_are_as_equal_as_can_be(parts, eagerly, jit_compile):
    given = {"by": tf.constant(10 * X), "nothing": None}
    seen = called(
        lambda: in_parts.concatenated(looked_at, (tf.constant(X), given), parts), eagerly, jit_compile
    )
    np.testing.assert_array_equal(seen["sums"], 11 * X)
    rows = seen["rows"].numpy()
    assert rows.shape == (11,) and rows.max() - rows.min() <= 1
    assert np.round(np.sum(1 / rows)) == min(parts, 11)


@WAYS
def test_a_sum_over_parts_leaves_none_alone_and_has_gradients(eagerly, jit_compile):
    weight, unused = tf.Variable(tf.constant([1.0, 2.0])), tf.Variable(tf.constant(3.0))

    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(x * weight**2)
        return loss, tape.gradient(loss, [weight, unused])

    total, (by_weight, by_unused) = called(
        lambda: in_parts.summed(gradients, (tf.constant(X[:10]),), 5), eagerly, jit_compile
    )
    np.testing.assert_allclose(total, (X[:10] * [1, 4]).sum())
    np.testing.assert_allclose(by_weight, (X[:10] * [2, 4]).sum(axis=0))
    assert by_unused is None


@pytest.mark.parametrize("eagerly", [True, False])
def test_parts_come_one_after_the_other_and_change_state_in_turn(eagerly):
    state = tf.Variable(tf.constant(0.0))

    def counting(x):
        state.assign(2 * state + x[0, 0])
        return x + state

    seen = called(lambda: in_parts.concatenated(counting, (tf.constant(X[:4]),), 4), eagerly, False)
    np.testing.assert_allclose(state, ((0 * 2 + 2) * 2 + 4) * 2 + 6)
    np.testing.assert_allclose(seen[:, 0], [0, 2 + 2, 4 + 8, 6 + 22])


def test_embeddings_sum_as_dense_gradients():
    table = tf.Variable(tf.ones((4, 2)))

    def gradient(tokens):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.gather(table, tokens))
        return tape.gradient(loss, table)

    tokens = tf.constant([0, 1, 1, 3])
    for eagerly in (True, False):
        summed = called(lambda: in_parts.summed(gradient, (tokens,), 2), eagerly, False)
        np.testing.assert_allclose(tf.convert_to_tensor(summed)[:, 0], [1, 2, 0, 1])


def test_the_graph_is_that_of_one_part():
    def operations(parts):
        @tf.function(autograph=False)
        def whole(x):
            return in_parts.concatenated(lambda part: tf.tanh(part), (x,), parts)

        graph = whole.get_concrete_function(tf.TensorSpec((24, 2))).graph
        functions = graph.as_graph_def().library.function
        return sum(len(function.node_def) for function in functions)

    assert operations(3) == operations(12)
