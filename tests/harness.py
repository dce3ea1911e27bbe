"""What every method must satisfy, whatever it computes; a new method is tested by adding a line."""

import numpy as np
import tensorflow as tf


def check_loss_function(function, oracle, teacher, student):
    """Values against NumPy in float64, gradients against differences, float32 out of any precision."""
    expected = oracle(teacher.astype("float64"), student.astype("float64"))
    value = function(teacher, student)
    assert value.dtype == "float32" and value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-6)
    _check_gradient(function, oracle, teacher, student)
    half = function(tf.cast(teacher, "float16"), tf.cast(student, "bfloat16"))
    assert half.dtype == "float32" and np.isfinite(half).all()


def check_compiled(function, teacher, student):
    """The same values and gradients eagerly, as a graph and under XLA, with a batch of unknown size."""

    def both(t, s):
        with tf.GradientTape() as tape:
            tape.watch(s)
            value = function(t, s)
        return value, tape.gradient(value, s)

    teacher, student = tf.constant(teacher), tf.constant(student)
    expected = both(teacher, student)
    unknown = [tf.TensorSpec((None, *x.shape[1:])) for x in (teacher, student)]
    for compiled in (tf.function(both, unknown), tf.function(both, jit_compile=True)):
        for value, eager in zip(compiled(teacher, student), expected, strict=True):
            np.testing.assert_allclose(value, eager, rtol=1e-4, atol=1e-5)


def _check_gradient(function, oracle, teacher, student, step=1e-5):
    s = tf.Variable(student)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(function(teacher, s))
    gradient = tape.gradient(total, s).numpy()
    rng = np.random.default_rng(0)
    for _ in range(5):
        direction = rng.normal(size=student.shape)
        up, down = (
            oracle(teacher.astype("float64"), student + k * step * direction).sum() for k in (1, -1)
        )
        slope = (up - down) / (2 * step)
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=2e-3, atol=1e-4)


def snapshot(model) -> list[np.ndarray]:
    return [weight.numpy() for weight in model.weights]


def assert_same_weights(before, model):
    for kept, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(kept, weight.numpy(), err_msg=weight.path)


def assert_other_weights(before, variables):
    pairs = zip(before, variables, strict=True)
    assert any(not np.array_equal(kept, weight.numpy()) for kept, weight in pairs)
