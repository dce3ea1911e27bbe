import pathlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import harness
from tfkd import losses

GOLDEN = pathlib.Path(__file__).parents[3] / "shared/golden/losses.npz"


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def soft_targets_oracle(temperature):
    def oracle(t, s):
        log_t, log_s = log_softmax(t / temperature), log_softmax(s / temperature)
        return temperature**2 * (np.exp(log_t) * (log_t - log_s)).sum(-1)

    return oracle


METHODS = {
    "soft_targets": (losses.SoftTargets(), soft_targets_oracle(1.0)),
    "soft_targets_T4": (losses.SoftTargets(temperature=4.0), soft_targets_oracle(4.0)),
    "l1_logits": (losses.L1Logits(), lambda t, s: np.abs(t - s).mean(-1)),
}
SHAPES = {"batch": (6, 5), "batch of 1": (1, 5), "two classes": (4, 2), "tokens": (3, 4, 5)}


@pytest.fixture(params=METHODS, ids=list(METHODS))
def method(request):
    return METHODS[request.param]


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_values_gradients_graph_and_xla(method, shape):
    loss, oracle = method
    rng = np.random.default_rng(1)
    teacher, student = (rng.normal(0, 3, shape).astype("float32") for _ in range(2))
    harness.check_loss_function(loss.call, oracle, teacher, student)


def test_serialization(method):
    logits = np.random.default_rng(2).normal(size=(3, 5)).astype("float32")
    harness.check_serialization(method[0], logits, logits[::-1])


def test_nothing_to_learn_from_itself(method):
    logits = np.random.default_rng(3).normal(0, 5, (4, 6)).astype("float32")
    np.testing.assert_allclose(method[0](logits, logits), 0, atol=1e-6)


def test_one_class_is_harmless(method):
    assert np.isfinite(method[0](np.ones((3, 1), "float32"), np.zeros((3, 1), "float32"))).all()


def test_shapes_that_cannot_match(method):
    with pytest.raises(ValueError, match=r"same shape.*teacher \(2, 3\), student \(2, 4\)"):
        method[0](np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="same shape"):
        losses.l1_logits(np.zeros((2, 3)), np.zeros((2, 3, 1)))


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


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_soft_targets_refuses_temperature(temperature):
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        losses.SoftTargets(temperature)


LOGITS = st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3)


@settings(max_examples=50, deadline=None)
@given(LOGITS, LOGITS, st.floats(0.5, 20, width=32), st.floats(-10, 10, width=32))
def test_soft_targets_is_a_divergence_of_probabilities(teacher, student, temperature, shift):
    teacher, student = np.array([teacher], "float32"), np.array([student], "float32")
    value = float(losses.soft_targets(teacher, student, temperature)[0])
    assert value >= -1e-4
    # Adding a constant to all logits changes no probability.
    shifted = float(losses.soft_targets(teacher + np.float32(shift), student, temperature)[0])
    np.testing.assert_allclose(shifted, value, rtol=1e-3, atol=1e-2)


# Twelve-by-ten logits and the reference value at temperature 4, computed elsewhere in float64.
@pytest.mark.skipif(not GOLDEN.exists(), reason="reference values are not beside the project")
@pytest.mark.parametrize("temperature", [1, 4])
def test_soft_targets_golden(temperature):
    golden = np.load(GOLDEN)
    value = losses.soft_targets(golden["in_teacher_logits"], golden["in_student_logits"], temperature)
    np.testing.assert_allclose(np.mean(value), golden[f"out_soft_target_T{temperature}"], rtol=1e-6)
