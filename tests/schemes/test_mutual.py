"""A scheme with several students on the public core: values, callbacks, stages, resuming."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import harness
from tests.conftest import blobs, small_network
from tests.schemes.mutual import MutualDistiller
from tfkd import callbacks
from tfkd.datafree import Health, KeepBest
from tfkd.distilling import Distillation
from tfkd.schemes import Stage, Stages

pytestmark = pytest.mark.slow

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def three():
    return [small_network(width, name=f"net{width}") for width in (2, 3, 4)]


def scheme(students=None, loss=None, optimizer=None, **kwargs):
    made = MutualDistiller(three() if students is None else students, loss)
    made.compile(optimizer or keras.optimizers.SGD(0.1), LABELS_LOSS, **kwargs)
    return made


def test_one_step_is_that_of_the_formula():
    """Plain TensorFlow, written from the paper, ends with the same weights."""
    x, y = blobs(16)
    ours, theirs = three(), three()
    for a, b in zip(ours, theirs, strict=True):
        b.set_weights(a.get_weights())
    scheme(ours).fit(x, y, batch_size=16, epochs=1, verbose=0)
    with tf.GradientTape(persistent=True) as tape:
        logits = [net(x, training=True) for net in theirs]
        p = [tf.stop_gradient(tf.nn.softmax(each)) for each in logits]
        totals = []
        for i, each in enumerate(logits):
            kl = [
                tf.reduce_mean(tf.reduce_sum(q * (tf.math.log(q) - tf.nn.log_softmax(each)), -1))
                for j, q in enumerate(p)
                if j != i
            ]
            entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(y, each)
            totals.append(tf.reduce_mean(entropy) + sum(kl) / 2)
    for total, net, own in zip(totals, theirs, ours, strict=True):
        for gradient, v, other in zip(
            tape.gradient(total, net.trainable_variables),
            net.trainable_variables,
            own.trainable_variables,
            strict=True,
        ):
            np.testing.assert_allclose(v - 0.1 * gradient, other, atol=1e-5)


def test_each_network_learns_and_is_logged():
    x, y = blobs(256)
    students = three()
    mutual = scheme(students, optimizer=keras.optimizers.Adam(1e-2), metrics=["accuracy"])
    history = mutual.fit(x, y, epochs=8, verbose=0).history
    for i, student in enumerate(students):
        assert np.mean(student.predict(x, verbose=0).argmax(-1) == y) > 0.9
        assert history[f"student_{i}_soft_targets"][-1] > 0
    assert history["accuracy"][-1] > 0.9


def test_it_follows_the_protocol():
    assert isinstance(scheme(), Distillation)
    assert not isinstance(small_network(2), Distillation)


def test_weight_schedule_reaches_every_student():
    x, y = blobs(16)
    mutual = scheme()
    mutual.fit(x, y, verbose=0, callbacks=[callbacks.WeightSchedule("soft_targets", stop=0)])
    assert [float(each.factors[0]) for each in mutual.loss_sets] == [0.0] * 3


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


def test_resumes_where_it_was_stopped(tmp_path):
    x, y = blobs(32)

    def run(epochs, **kwargs):
        keras.utils.set_random_seed(1)
        mutual = scheme(optimizer=keras.optimizers.Adam(1e-2))
        mutual.fit(x, y, batch_size=16, shuffle=False, epochs=epochs, verbose=0, **kwargs)
        return mutual

    def backup(keep):
        return [keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=not keep)]

    whole = run(4)
    run(2, callbacks=backup(keep=True))
    resumed = run(4, callbacks=backup(keep=False))
    harness.assert_same_weights(harness.snapshot(whole), resumed)
