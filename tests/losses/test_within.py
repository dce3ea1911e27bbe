"""Losses between two layers of one network: values, gradients, masks, files and schedules."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tests.losses import oracles
from tests.losses.methods import METHODS
from tests.losses.networks import sequence_network
from tests.losses.test_padding import series
from tfkd.callbacks import TemperatureSchedule
from tfkd.distilling import _forward as forward
from tfkd.losses import Batch, GradientAttention, Hint, SoftTargets, TeacherFree, within

# Keras before 3.12 has none.
distillation = pytest.importorskip("keras.distillation")

pytestmark = [pytest.mark.slow, pytest.mark.eager]

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# Not of the student alone or of the gradient by the input, nor one that has the taps of another.
NOT_COMPARING = {"gradient_attention", "confidence_weighted"}
NOT_COMPARING |= {name for name, method in METHODS.items() if not method.make().uses_teacher}
COMPARING = sorted(METHODS.keys() - NOT_COMPARING)


def network_with_exit(name="student"):
    """Two convolutions, and a second classifier behind the first of them."""
    network = small_network(4, name=name)
    x = layers.GlobalAveragePooling2D(name="pooled")(network.get_layer("relu1").output)
    return keras.Model(network.input, [network.output, layers.Dense(4, name="exit_1")(x)], name=name)


def soft_targets(temperature=4.0, **kwargs):
    return within(SoftTargets(temperature, teacher_layer="logits", student_layer="exit_1", **kwargs))


def features():
    return within(Hint("conv2", "relu1", projector=True))


def compiled(loss, student=None, optimizer="sgd", **kwargs):
    distiller = tfkd.Distiller(None, student or network_with_exit(), loss)
    distiller.compile(optimizer, [LABELS_LOSS] * 2, **kwargs)
    return distiller


def test_the_deep_layer_teaches_and_is_not_taught():
    student, (x, _) = network_with_exit(), blobs(8)
    distiller = compiled([soft_targets(), features()], student)
    with tf.GradientTape() as tape:
        total = distiller.loss_set.total(None, run(distiller, x))
    gradients = tape.gradient(total, student.trainable_variables)
    # Not by a little: there is no gradient at all.
    both = zip(student.trainable_variables, gradients, strict=True)
    reached = {variable.path.split("/")[-2] for variable, gradient in both if gradient is not None}
    assert reached == {"conv1", "norm1", "exit_1"}


def fit(distiller, **kwargs):
    x, y = blobs(16)
    return distiller.fit(x, [y, y], shuffle=False, verbose=0, **kwargs).history


def run(distiller, x):
    return forward.forward_pass(distiller.student, distiller.loss_set.student_taps, x, True)


@pytest.mark.parametrize("name", COMPARING)
def test_the_value_is_that_of_the_plain_loss(name):
    method = METHODS[name]
    taps = {} if method.at else {"teacher_layer": "deep"}
    plain = method.make(**taps)
    teacher, student = method.inputs()
    examples = len(tf.nest.flatten(student)[0])
    batch = Batch(labels=np.zeros(examples, int), index=np.arange(examples), training=False)
    plain(teacher, student, **plain.arguments(batch))
    # What is remembered, and which random numbers come next.
    state = [variable.numpy() for variable in plain.variables]
    expected = plain(teacher, student, **plain.arguments(batch))
    for variable, value in zip(plain.variables, state, strict=True):
        variable.assign(value)
    wrapped = within(plain)
    np.testing.assert_array_equal(wrapped(teacher, student, **wrapped.arguments(batch)), expected)
    kept = "name", "over_classes", "takes_structures", "published_weight", "teacher_layer", "student_layer"
    assert [getattr(wrapped, each) for each in kept] == [getattr(plain, each) for each in kept]


def test_both_sides_come_from_the_one_pass():
    distiller, (x, _) = compiled(soft_targets()), blobs(8)
    seen = run(distiller, x)
    expected = oracles.soft_targets(seen.features["logits"].numpy(), seen.features["exit_1"].numpy(), 4.0)
    value = distiller.loss_set.total(None, seen)
    assert float(value) == pytest.approx(expected.mean(), rel=1e-5) and float(value) > 0
    weights = np.arange(8.0, dtype="float32")
    weighted = distiller.loss_set.total(None, seen, sample_weight=weights)
    assert float(weighted) == pytest.approx((expected * weights).mean(), rel=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_trained_parts_are_trained_saved_and_go_on(jit_compile, tmp_path):
    distiller = compiled([soft_targets(), features()], optimizer="adam", jit_compile=jit_compile)
    parts = [v.numpy() for v in distiller.loss_set.trainable_variables]
    assert {"soft_targets", "hint"} <= set(fit(distiller))
    assert len(parts) == 2
    harness.assert_other_weights(parts, distiller.loss_set.trainable_variables)
    distiller.save(tmp_path / "distiller.keras")
    loaded = keras.models.load_model(tmp_path / "distiller.keras")
    inner = [model.distillation_losses[0].computed()[0].get_config() for model in (distiller, loaded)]
    assert inner[0] == inner[1]
    for model in (distiller, loaded):
        fit(model)
    for mine, theirs in zip(distiller.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-6)


def test_padding_changes_nothing():
    values = []
    network = sequence_network()
    for padding in (0, 3):
        x, _, weights = series(padding)
        soft = SoftTargets(2.0, teacher_layer="relu", student_layer="hidden")
        losses = [within(Hint("norm", "hidden")), within(soft)]
        distiller = compiled(losses, network)
        seen = forward.forward_pass(network, distiller.loss_set.student_taps, x, True)
        values.append(float(distiller.loss_set.total(None, seen, sample_weight=weights)))
    assert values[0] > 0 and values[1] == pytest.approx(values[0], rel=1e-5)


def test_a_schedule_sets_the_temperature_of_the_loss_inside():
    distiller = compiled([soft_targets(), features()])
    schedule = TemperatureSchedule(lambda epoch: 5.0 - epoch, loss="soft_targets")
    fit(distiller, epochs=2, callbacks=[schedule])
    assert distiller.distillation_losses[0].computed()[0].temperature == 4.0


def test_a_new_option_of_the_loss_inside_is_traced():
    distiller = compiled(features())
    before = fit(distiller)["hint"][0]
    distiller.distillation_losses[0].computed()[0].relative = True
    assert abs(fit(distiller)["hint"][0] - before) > 0.1 * before


def test_losses_of_keras_and_half_precision():
    loss = distillation.FeatureDistillation("mse", "logits", "exit_1")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        student = network_with_exit()
    finally:
        keras.config.set_dtype_policy("float32")
    history = fit(compiled([within(loss), soft_targets()], student))
    assert history["feature_distillation"][0] > 0 and history["soft_targets"][0] > 0


def test_what_cannot_be_within_one_network():
    with pytest.raises(ValueError, match=r"uses the student alone.*directly"):
        within(TeacherFree())
    with pytest.raises(
        ValueError, match=r"different `student_layer` and `teacher_layer`.*SoftTargets.*None"
    ):
        within(SoftTargets(4.0))
    with pytest.raises(ValueError, match=r"different `student_layer`.*GradientAttention with ':gradient'"):
        within(GradientAttention())
    with pytest.raises(TypeError, match=r"must be a tfkd.losses"):
        within("soft_targets")
    with pytest.raises(ValueError, match=r"No layer 'logit' in model 'student'.*logits"):
        compiled(within(SoftTargets(4.0, teacher_layer="logit", student_layer="exit_1")))
