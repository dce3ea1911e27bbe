"""Agreement and divergences of two networks against NumPy."""

import keras
import numpy as np
import pytest

import tfkd
from tfkd.analysis import agreement, fidelity


def table(rows, name):
    """A network that answers input i with row i."""
    rows = np.asarray(rows, "float32")
    dense = keras.layers.Dense(rows.shape[1], use_bias=False, name="rows")
    model = keras.Sequential([keras.Input((len(rows),)), dense], name=name)
    dense.set_weights([rows])
    return model


RNG = np.random.default_rng(0)
TEACHER, STUDENT = RNG.normal(0, 3, (2, 40, 5))
INPUTS = np.eye(40, dtype="float32")


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def kl(p, q):
    return np.sum(p * np.log(p / q), axis=-1)


def test_classifiers():
    found = fidelity(table(TEACHER, "t"), table(STUDENT, "s"), INPUTS)
    p, q = softmax(TEACHER), softmax(STUDENT)
    assert found.agreement == np.mean(p.argmax(-1) == q.argmax(-1))
    assert found.divergence == pytest.approx(np.mean(kl(p, q)), rel=1e-5)
    middle = (p + q) / 2
    assert found.jensen_shannon == pytest.approx(np.mean(kl(p, middle) + kl(q, middle)) / 2, rel=1e-5)
    assert agreement(table(TEACHER, "t"), table(STUDENT, "s"), INPUTS) == found.agreement


def test_a_network_agrees_with_itself():
    model = table(TEACHER, "t")
    assert fidelity(model, model, INPUTS) == (1.0, 0.0, 0.0)


def test_saturated_logits_stay_finite():
    found = fidelity(table([[1e4, 0.0]], "t"), table([[0.0, 1e4]], "s"), np.eye(1, dtype="float32"))
    assert found.agreement == 0 and found.divergence == pytest.approx(1e4)
    assert found.jensen_shannon == pytest.approx(np.log(2))


def test_independent_labels():
    task = tfkd.tasks.MultiLabel((5,))
    found = fidelity(table(TEACHER, "t"), table(STUDENT, "s"), INPUTS, task)
    p, q = (np.stack([1 / (1 + np.exp(-z)), 1 / (1 + np.exp(z))], -1) for z in (TEACHER, STUDENT))
    middle = (p + q) / 2
    assert found.agreement == pytest.approx(np.mean((TEACHER > 0) == (STUDENT > 0)))
    assert found.jensen_shannon == pytest.approx(np.mean(kl(p, middle) + kl(q, middle)) / 2, rel=1e-5)


def test_numbers_have_no_probabilities():
    task = tfkd.tasks.Regression((5,))
    found = fidelity(table(TEACHER, "t"), table(TEACHER + 1, "s"), INPUTS, task)
    assert found.jensen_shannon is None and found.divergence > 0


def test_other_outputs_are_refused():
    with pytest.raises(ValueError, match="`student` must have the teacher's output shape"):
        fidelity(table(TEACHER, "t"), table(STUDENT[:, :4], "s"), INPUTS)
