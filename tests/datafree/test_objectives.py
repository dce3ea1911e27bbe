import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import blobs
from tests.losses.oracles import log_softmax
from tfkd import taps
from tfkd.datafree import objectives

RNG = np.random.default_rng(0)
TEACHER, STUDENT = (RNG.normal(0, 3, (8, 5)).astype("float32") for _ in range(2))
LOG_P, LOG_Q = log_softmax(TEACHER.astype("float64")), log_softmax(STUDENT.astype("float64"))
MEAN = np.exp(LOG_P).mean(0)

# name: (function of tensors, its arguments, expected value)
CASES = {
    "adversarial l1": (
        objectives.adversarial,
        (TEACHER, STUDENT),
        -np.abs(TEACHER - STUDENT).mean(),
    ),
    "adversarial kl": (
        lambda t, s: objectives.adversarial(t, s, "kl"),
        (TEACHER, STUDENT),
        -(np.exp(LOG_P) * (LOG_P - LOG_Q)).sum(-1).mean(),
    ),
    "one hot": (objectives.one_hot, (TEACHER,), -LOG_P.max(-1).mean()),
    "class balance": (objectives.class_balance, (TEACHER,), (MEAN * np.log(MEAN)).sum()),
    "class balance, base 10": (
        lambda t: objectives.class_balance(t, 10.0),
        (TEACHER,),
        (MEAN * np.log10(MEAN)).sum(),
    ),
    "activation": (objectives.activation, (TEACHER,), -np.abs(TEACHER).mean()),
}


@pytest.mark.parametrize("jit_compile", [None, False, True], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("case", CASES)
def test_values(case, jit_compile):
    function, arguments, expected = CASES[case]
    if jit_compile is not None:
        function = tf.function(function, jit_compile=jit_compile)
    np.testing.assert_allclose(function(*arguments), expected, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_finite_at_saturated_logits(case):
    function, arguments, _ = CASES[case]
    variables = [tf.Variable(1e4 * argument) for argument in arguments]
    with tf.GradientTape() as tape:
        value = function(*variables)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in tape.gradient(value, variables))


def test_class_balance_knows_its_extremes():
    even = np.eye(5, dtype="float32") * 100
    np.testing.assert_allclose(objectives.class_balance(even), -np.log(5), rtol=1e-6)
    np.testing.assert_allclose(objectives.class_balance(np.tile(even[:1], (7, 1))), 0, atol=1e-6)


def test_each_works_on_a_batch(teacher, student):
    images, _ = blobs(4)
    terms = (
        objectives.Adversarial(),
        objectives.Adversarial(distance="kl"),
        objectives.OneHot(),
        objectives.Activation(),
        objectives.Activation(layer="relu1"),
        objectives.ClassBalance(),
    )
    tapped = [tap for term in terms for tap in term.taps(teacher)]
    assert tapped == ["logits:input", "relu1"]
    with taps.record(teacher, tapped) as seen:
        logits = teacher(images)
    values = []
    for term in terms:
        features = tuple(seen[tap] for tap in term.taps(teacher))
        values.append(term.value(objectives.Synthesized(images, logits, student(images), features)))
    assert all(np.isfinite(value) and value.shape == () for value in values)
    np.testing.assert_allclose(values[3], -np.abs(seen["logits:input"]).mean(), rtol=1e-5)
    np.testing.assert_allclose(values[4], -np.abs(seen["relu1"]).mean(), rtol=1e-5)


def test_names_and_unknown_distance():
    assert objectives.ClassBalance().name == "class_balance"
    with pytest.raises(ValueError, match=r"`distance` must be one of \['kl', 'l1'\]"):
        objectives.adversarial(TEACHER, STUDENT, "l2")


def test_objectives_compare_by_value():
    assert objectives.OneHot(2.0) == objectives.OneHot(2.0) != objectives.OneHot(1.0)
    assert keras.tree.flatten([objectives.OneHot()]) == [objectives.OneHot()]
