"""Values that are changed after `compile` hold from the next step on."""

import keras
import numpy as np
import pytest
from keras import layers

import tfkd
from tfkd import losses
from tfkd.callbacks import StudentLossWeightSchedule, TemperatureSchedule

# Keras before 3.12 has none.
distillation = pytest.importorskip("keras.distillation")

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 6)).astype("float32"), RNG.integers(0, 4, 12)


def network():
    return keras.Sequential([keras.Input((6,)), layers.Dense(4)])


@pytest.fixture
def pair():
    return network(), network()


def distiller(pair, loss, share=0.5, weights=None):
    made = tfkd.Distiller(*pair, loss, weights, share)
    # Nothing moves, so that only the values that are changed decide.
    made.compile(keras.optimizers.SGD(0.0), LABELS_LOSS)
    return made


def fit(made, callbacks=(), epochs=3):
    return made.fit(X, Y, epochs=epochs, batch_size=12, verbose=0, callbacks=list(callbacks)).history


def at_epochs(change):
    return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: change(epoch))


def divergence(pair, temperature):
    return float(np.mean(losses.soft_targets(pair[0](X), pair[1](X), temperature)))


def labels(pair):
    return float(LABELS_LOSS(Y, pair[1](X)))


@pytest.mark.parametrize("shares", [[0.9, 0.5, 0.1], [0.0, 1.0, 0.5]], ids=["inside", "to_the_ends"])
@pytest.mark.parametrize("how", ["attribute", "schedule"])
def test_share(pair, shares, how):
    made = distiller(pair, losses.SoftTargets(2.0))
    by_hand = at_epochs(lambda epoch: setattr(made, "student_loss_weight", shares[epoch]))
    callback = by_hand if how == "attribute" else StudentLossWeightSchedule(shares.__getitem__)
    expected = [share * labels(pair) + (1 - share) * divergence(pair, 2.0) for share in shares]
    assert fit(made, [callback])["loss"] == pytest.approx(expected, rel=1e-5)
    assert made.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(expected[-1], rel=1e-5)
    made.student_loss_weight = 0.25
    expected = 0.25 * labels(pair) + 0.75 * divergence(pair, 2.0)
    assert fit(made, epochs=1)["loss"] == pytest.approx([expected], rel=1e-5)
    assert made.get_config()["student_loss_weight"] == 0.25


@pytest.mark.parametrize("kind", [losses.SoftTargets, distillation.LogitsDistillation])
@pytest.mark.parametrize("how", ["attribute", "schedule"])
def test_temperature(pair, kind, how):
    made = distiller(pair, kind(temperature=4.0), share=0.0)
    (loss,) = made.distillation_losses
    temperatures = [3.0, 2.0, 1.0]
    by_hand = at_epochs(lambda epoch: setattr(loss, "temperature", temperatures[epoch]))
    callback = by_hand if how == "attribute" else TemperatureSchedule(temperatures.__getitem__)
    expected = [divergence(pair, temperature) for temperature in temperatures]
    assert fit(made, [callback])["loss"] == pytest.approx(expected, rel=1e-5)
    assert made.evaluate(X, Y, verbose=0, return_dict=True)["loss"] == pytest.approx(expected[-1], rel=1e-5)


@pytest.mark.parametrize("kind", ["confidence", "teachers"])
def test_a_schedule_sets_temperatures_of_losses_inside_others(pair, kind):
    inside, answer = losses.SoftTargets(4.0), pair[0].layers[-1].name
    loss = {
        "confidence": lambda: losses.ConfidenceWeighted(inside, power=0.0),
        "teachers": lambda: losses.WeightedTeachers(inside, [answer, answer], [1.0, 3.0]),
    }[kind]()
    temperatures = [3.0, 2.0, 1.0]
    made = distiller(pair, loss, share=0.0)
    expected = [divergence(pair, temperature) for temperature in temperatures]
    history = fit(made, [TemperatureSchedule(temperatures.__getitem__)])
    assert history["loss"] == pytest.approx(expected, rel=1e-5)


def test_temperatures_of_a_schedule_need_no_new_trace(pair):
    traces = []

    class Counting(losses.SoftTargets):
        def call(self, teacher, student):
            traces.append(self)
            return super().call(teacher, student)

    fit(distiller(pair, Counting(4.0)), [TemperatureSchedule(lambda epoch: 3.0 - epoch)])
    assert len(traces) == 1


def test_weights_and_other_options(pair):
    made = distiller(pair, [losses.SoftTargets(), losses.MultiLevelLogits()], 0.0, [1.0, 0.0])
    assert fit(made, epochs=1)["loss"] == pytest.approx([divergence(pair, 1.0)], rel=1e-5)
    made.distillation_loss_weights = [0.5, 0.0]
    assert fit(made, epochs=1)["loss"] == pytest.approx([0.5 * divergence(pair, 1.0)], rel=1e-5)
    made.distillation_loss_weights[1] = 2.0
    made.distillation_losses[1].temperatures = [3.0]
    expected = 0.5 * divergence(pair, 1.0) + 2 * float(
        losses.multi_level_logits(pair[0](X), pair[1](X), [3.0])
    )
    assert fit(made, epochs=1)["loss"] == pytest.approx([expected], rel=1e-5)


def test_what_cannot_be_is_refused(pair):
    made = distiller(pair, losses.SoftTargets())
    with pytest.raises(ValueError, match="`student_loss_weight` must be between"):
        made.student_loss_weight = 1.5
    with pytest.raises(ValueError, match="`temperature` must be above 0"):
        made.distillation_losses[0].temperature = 0.0
    with pytest.raises(ValueError, match="`distillation_loss_weights` must have one weight for each"):
        made.distillation_loss_weights = [1.0, 2.0]
    made.distillation_loss_weights[0] = -1.0
    with pytest.raises(ValueError, match="`distillation_loss_weights` must be finite and at least 0"):
        fit(made, epochs=1)
    without = tfkd.Distiller(*pair, losses.SoftTargets(), student_loss_weight=0.0)
    without.compile("sgd")
    with pytest.raises(ValueError, match=r"compiled without a `loss`.*Compile it with the labels' loss"):
        without.student_loss_weight = 0.5
    without.compile("sgd", LABELS_LOSS)
    without.student_loss_weight = 0.5


def test_schedules_name_what_they_cannot_reach(pair):
    made = distiller(pair, losses.L1Logits())
    with pytest.raises(ValueError, match=r"`loss` must be one of the losses \['l1_logits'\]"):
        fit(made, [TemperatureSchedule(lambda epoch: 1.0)])
    plain = network()
    plain.compile("sgd", LABELS_LOSS)
    with pytest.raises(TypeError, match=r"needs a tfkd\.Distiller"):
        plain.fit(X, Y, verbose=0, callbacks=[StudentLossWeightSchedule(lambda epoch: 0.5)])
