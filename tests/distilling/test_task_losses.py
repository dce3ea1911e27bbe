"""A teacher of labels or numbers is not taught as if exactly one class were right."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd import losses


def network(outputs, ending=None):
    inputs = keras.Input((6,))
    hidden = layers.Dense(5, activation="tanh", name="hidden")(inputs)
    return keras.Model(inputs, layers.Dense(outputs, activation=ending)(hidden))


@pytest.fixture
def tagger():
    """Three sigmoids, loaded: independent labels."""
    return tfkd.load_teacher(network(3, "sigmoid"), task="multi_label")


def x():
    return np.random.default_rng(0).normal(size=(16, 6)).astype("float32")


def test_soft_targets_become_those_of_each_label(tagger):
    student = network(3)
    distiller = tfkd.Distiller(tagger, student, losses.SoftTargets(2.0), student_loss_weight=0.0)
    distiller.compile("adam")
    expected = losses.bernoulli_targets(tagger(x()), student(x()), 2.0)
    logs = distiller.evaluate(x(), return_dict=True, verbose=0)
    assert logs["bernoulli_targets"] == pytest.approx(float(np.mean(expected)), rel=1e-4)


def test_numbers_are_compared_as_numbers():
    teacher = tfkd.load_teacher(network(2), task="regression")
    distiller = tfkd.Distiller(teacher, network(2), losses.SoftTargets())
    assert isinstance(distiller.distillation_losses[0], losses.MeanSquaredError)


def test_classifiers_and_unmarked_models_keep_what_was_asked_for():
    for teacher in (tfkd.load_teacher(network(3, "softmax")), network(3)):
        loss = losses.SoftTargets()
        assert tfkd.Distiller(teacher, network(3), loss).distillation_losses == [loss]


@pytest.mark.parametrize(
    "loss",
    [
        losses.DecoupledKnowledge(),
        losses.DIST(),
        losses.LogitStandardization(),
        losses.MultiLevelLogits(),
        losses.GradientAttention(),
        keras.distillation.LogitsDistillation(),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_other_losses_over_a_softmax_are_refused_with_a_remedy_that_works(loss, tagger):
    with pytest.raises(ValueError, match=r"one softmax.*'multi_label'.*tfkd\.losses\.BernoulliTargets"):
        tfkd.Distiller(tagger, network(3), loss)
    tfkd.Distiller(tagger, network(3), losses.BernoulliTargets())


@pytest.mark.parametrize("tap", ["hidden", ["hidden"]], ids=["one_layer", "a_list"])
@pytest.mark.parametrize("kind", [losses.Hint, losses.SoftTargets])
def test_losses_of_inner_layers_stay(kind, tap, tagger):
    loss = kind(teacher_layer=tap, student_layer=tap)
    assert tfkd.Distiller(tagger, network(3), loss).distillation_losses == [loss]
