"""Mutual learning: the defining equations, callbacks, stages, optimizers, bad input."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tfkd import callbacks, losses
from tfkd.datafree import Health, KeepBest
from tfkd.distilling import Distillation
from tfkd.schemes import MutualDistiller, Stage, Stages

pytestmark = pytest.mark.slow

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def three():
    return [small_network(width, name=f"net{width}") for width in (2, 3, 4)]


def scheme(students=None, loss=None, optimizer=None, together=True, **kwargs):
    made = MutualDistiller(three() if students is None else students, loss, together=together)
    made.compile(optimizer or keras.optimizers.SGD(0.1), LABELS_LOSS, **kwargs)
    return made


def gradients_of_the_paper(nets, x, y, i, answers):
    """CE + sum of KL(peer || i) / (K - 1), in plain TensorFlow, and its gradients."""
    with tf.GradientTape() as tape:
        logits = nets[i](x, training=True)
        peers = [tf.nn.softmax(each) for j, each in enumerate(answers) if j != i]
        kl = [
            tf.reduce_mean(tf.reduce_sum(p * (tf.math.log(p) - tf.nn.log_softmax(logits)), -1))
            for p in peers
        ]
        entropy = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
        total = entropy + sum(kl) / len(kl)
    return float(total), tape.gradient(total, nets[i].trainable_variables)


def assert_moved(before, gradients, student):
    for start, gradient, variable in zip(before, gradients, student.trainable_variables, strict=True):
        np.testing.assert_allclose(start - 0.1 * gradient, variable, atol=1e-5, err_msg=variable.path)


def test_one_step_is_that_of_the_formula():
    x, y = blobs(16)
    ours, theirs = three(), three()
    for a, b in zip(ours, theirs, strict=True):
        b.set_weights(a.get_weights())
    history = scheme(ours).fit(x, y, batch_size=16, epochs=1, verbose=0).history
    before = [[v.numpy() for v in net.trainable_variables] for net in theirs]
    answers = [net(x, training=True) for net in theirs]
    # Their statistics, as they were.
    totals = []
    for i, own in enumerate(ours):
        total, gradients = gradients_of_the_paper(theirs, x, y, i, answers)
        assert_moved(before[i], gradients, own)
        totals.append(total)
    np.testing.assert_allclose(history["loss"], np.mean(totals), rtol=1e-5)


def test_in_turn_each_learns_from_peers_that_have_learned():
    x, y = blobs(16)
    ours, theirs = three()[:2], three()[:2]
    for a, b in zip(ours, theirs, strict=True):
        b.set_weights(a.get_weights())
    scheme(ours, together=False).fit(x, y, batch_size=16, epochs=1, verbose=0)
    optimizer = keras.optimizers.SGD(0.1)
    for i in range(2):
        before = [v.numpy() for v in theirs[i].trainable_variables]
        answers = [net(x, training=False) for net in theirs]
        _, gradients = gradients_of_the_paper(theirs, x, y, i, answers)
        assert_moved(before, gradients, ours[i])
        keras.optimizers.SGD.from_config(optimizer.get_config()).apply_gradients(
            zip(gradients, theirs[i].trainable_variables, strict=True)
        )
    # Batch statistics move once a step.
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            a.get_layer("norm1").moving_mean, b.get_layer("norm1").moving_mean, atol=1e-6
        )


def test_each_network_learns_and_is_logged():
    x, y = blobs(256)
    students = three()
    mutual = scheme(students, optimizer=keras.optimizers.Adam(1e-2), metrics=["accuracy"])
    history = mutual.fit(x, y, epochs=8, verbose=0).history
    for i, student in enumerate(students):
        assert np.mean(student.predict(x, verbose=0).argmax(-1) == y) > 0.9
        assert history[f"student_{i}_soft_targets"][-1] > 0
        assert history[f"student_{i}_accuracy"][-1] > 0.9
    assert history["accuracy"][-1] > 0.9
    measured = mutual.evaluate(x, y, return_dict=True, verbose=0)
    answered = np.mean([student.predict(x, verbose=0) for student in students], axis=0)
    assert measured["accuracy"] == pytest.approx(np.mean(answered.argmax(-1) == y))
    np.testing.assert_allclose(mutual.predict(x, verbose=0), answered, atol=1e-5)


def test_it_follows_the_protocol():
    assert isinstance(scheme(), Distillation)
    assert not isinstance(small_network(2), Distillation)


def test_weight_schedule_reaches_every_student():
    x, y = blobs(16)
    mutual = scheme()
    mutual.fit(x, y, verbose=0, callbacks=[callbacks.WeightSchedule("soft_targets", stop=0)])
    assert [float(each.factors[0]) for each in mutual.loss_sets] == [0.0] * 6


def test_keep_last_good_gives_all_students_back():
    x, y = blobs(16)
    students = three()
    before = [harness.snapshot(student) for student in students]
    broken = x.copy()
    broken[0] = np.nan
    with pytest.warns(UserWarning, match="not finite in epoch 1"):
        scheme(students).fit(broken, y, epochs=2, verbose=0, callbacks=[callbacks.KeepLastGood()])
    for kept, student in zip(before, students, strict=True):
        harness.assert_same_weights(kept, student)


def test_keep_best_gives_all_students_back():
    x, y = blobs(32)
    students = three()
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append([harness.snapshot(each) for each in students])
    )
    best = KeepBest("loss", "max")
    scheme(students).fit(x, y, epochs=3, verbose=0, callbacks=[record, best])
    assert best.best_epoch == 0
    for kept, student in zip(seen[0], students, strict=True):
        harness.assert_same_weights(kept, student)


def test_health_says_why_it_cannot():
    x, y = blobs(16)
    with pytest.raises(TypeError, match="inputs that a model makes itself"):
        scheme().fit(x, y, verbose=0, callbacks=[Health()])


def test_callbacks_refuse_a_model_that_teaches_nobody():
    model = small_network(2)
    model.compile("sgd", LABELS_LOSS)
    for each in (callbacks.KeepLastGood(), callbacks.WeightSchedule(stop=1), KeepBest("loss", "min")):
        with pytest.raises(TypeError, match=f"{type(each).__name__} is for distillers and schemes"):
            model.fit(*blobs(16), verbose=0, callbacks=[each])


def test_a_stage_of_a_scheme():
    x, y = blobs(32)
    student, peer = small_network(3), small_network(2)
    before = harness.snapshot(peer)

    def mutual(teacher, student, stage_losses, weights, share):
        assert teacher is None and stage_losses == [] and share == 1.0
        return MutualDistiller([student, peer])

    stages = Stages([Stage(None, 1, optimizer="sgd"), Stage(None, 2, optimizer="sgd", scheme=mutual)])
    history = stages.fit(None, student, x, y, loss=LABELS_LOSS, verbose=0).history
    assert history["stage"] == [0, 1, 1]
    harness.assert_other_weights(before, peer.weights)
    with pytest.raises(TypeError, match="`scheme` must return a distiller"):
        Stages([Stage(None, 1, scheme=lambda *_: peer)]).fit(None, student, x, y, loss=LABELS_LOSS)


def test_learning_rate_callbacks_reach_every_optimizer():
    x, y = blobs(16)
    rates = [keras.optimizers.Adam(1e-2), keras.optimizers.SGD(0.2), keras.optimizers.SGD(0.1)]
    mutual = scheme(optimizer=rates)
    halving = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    mutual.fit(x, y, epochs=2, verbose=0, callbacks=[halving])
    np.testing.assert_allclose([float(each.learning_rate) for each in rates], [2.5e-3, 0.05, 0.025])
    # A rate of the schedule's own is the first one's, and the others keep their proportion.
    fixed = keras.callbacks.LearningRateScheduler(lambda epoch: 2.5e-3)
    history = mutual.fit(x, y, epochs=1, verbose=0, callbacks=[fixed]).history
    assert history["learning_rate"] == pytest.approx([2.5e-3])
    np.testing.assert_allclose([float(each.learning_rate) for each in rates], [2.5e-3, 0.05, 0.025])
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.1, patience=0, min_delta=1e9, cooldown=9)
    mutual.fit(x, y, epochs=2, verbose=0, callbacks=[plateau])
    np.testing.assert_allclose(
        [float(each.learning_rate) for each in rates], [2.5e-4, 5e-3, 2.5e-3], rtol=1e-5
    )


def test_networks_with_layers_of_other_names_teach_each_other_features():
    x, y = blobs(32)
    inputs = keras.Input((12, 12, 1))
    hidden = keras.layers.Conv2D(5, 3, strides=2, padding="same", activation="relu", name="features")(
        inputs
    )
    other = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(hidden)), name="other")
    layers_of = {"net": "pool", "other": "features"}

    def hints(peer, student):
        hint = losses.Hint(layers_of[peer.name], layers_of[student.name], projector=True)
        return [losses.SoftTargets(1.0), hint]

    mutual = scheme([small_network(3), other], hints, keras.optimizers.Adam(1e-2))
    projectors = [each.trainable_variables for each in mutual.loss_sets]
    before = [[v.numpy() for v in each] for each in projectors]
    history = mutual.fit(x, y, epochs=2, verbose=0).history
    assert history["student_0_hint"][-1] > 0 and history["student_1_hint"][-1] > 0
    for start, each in zip(before, projectors, strict=True):
        harness.assert_other_weights(start, each)


def test_weights_of_examples_and_validation():
    x, y = blobs(32)
    mutual = scheme(metrics=["accuracy"])
    nothing = mutual.fit(
        x, y, sample_weight=np.zeros(32), epochs=1, verbose=0, validation_data=(x, y)
    ).history
    assert nothing["loss"] == [0.0]
    expected = mutual.evaluate(x, y, verbose=0, return_dict=True)
    for key, value in expected.items():
        np.testing.assert_allclose(nothing[f"val_{key}"], value, rtol=1e-5)


def test_half_precision_scales_each_loss():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        students = [small_network(3), small_network(4, name="other")]
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = blobs(32)
    mutual = scheme(students)
    assert [type(each).__name__ for each in mutual.optimizer.members] == ["LossScaleOptimizer"] * 2
    history = mutual.fit(x, y, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_students_of_different_precision():
    students = [small_network(3), small_network(4, name="other")]
    keras.config.set_dtype_policy("mixed_float16")
    try:
        students.append(small_network(4, name="half"))
    finally:
        keras.config.set_dtype_policy("float32")
    x, y = blobs(32)
    mutual = scheme(students, metrics=["accuracy"])
    assert np.isfinite(mutual.fit(x, y, epochs=1, verbose=0).history["loss"]).all()
    outputs = [student.predict(x, verbose=0).astype("float32") for student in students]
    np.testing.assert_allclose(mutual.predict(x, verbose=0), np.mean(outputs, 0), atol=2e-3)


def test_what_would_make_no_sense():
    probabilities = [keras.Sequential([net, keras.layers.Softmax()], name=net.name) for net in three()]
    with pytest.warns(tfkd.LogitsWarning, match="ends in a softmax"):
        MutualDistiller(probabilities)
    with pytest.raises(TypeError, match=r"Received: <class .*SoftTargets"):
        MutualDistiller(three(), losses.SoftTargets)
    with pytest.raises(TypeError, match=r"`optimizer`: tfkd\.optimizers\.DOT"):
        scheme(optimizer=tfkd.optimizers.DOT(keras.optimizers.SGD(0.1, 0.9)))
    with pytest.raises(ValueError, match="`loss` is a binary cross-entropy"):
        MutualDistiller(three()).compile("sgd", keras.losses.BinaryCrossentropy(from_logits=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scheme(three()[:1]), "`students` must be at least two networks"),
        (lambda: scheme([small_network(2)] * 2), "shares trainable weights"),
        (lambda: scheme([small_network(2), of_classes(5)]), r"same output shape.*4.*5"),
        (lambda: scheme([small_network(2), keras.Sequential([keras.layers.Dense(4)])]), "is not built"),
        (lambda: scheme(optimizer=["sgd", "sgd"]), "`optimizer` must be one optimizer, or a list of 3"),
        (lambda: scheme(optimizer=[keras.optimizers.SGD()] * 3), "different ones, one for each student"),
        (lambda: scheme(three(), losses.Hint("conv9", "conv1")), "conv9"),
        (lambda: scheme().fit(blobs(8)[0], verbose=0), "`y` is missing"),
        (lambda: MutualDistiller(three()).compile("sgd"), "`loss` is missing"),
        (lambda: scheme().save("mutual.h5"), "could not be loaded again"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def of_classes(n):
    inputs = keras.Input((12, 12, 1))
    return keras.Model(inputs, keras.layers.Dense(n)(keras.layers.Flatten()(inputs)))


def test_outputs_of_a_teacher_are_refused():
    x, y = blobs(16)
    data = tfkd.cache_teacher(tf.data.Dataset.from_tensor_slices((x, y)).batch(8), small_network(2))
    with pytest.raises(ValueError, match="contains a teacher's outputs"):
        scheme().fit(data, verbose=0)
