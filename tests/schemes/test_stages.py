import dataclasses

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tfkd import losses
from tfkd._core import files
from tfkd.callbacks import WeightSchedule
from tfkd.schemes import Stage, Stages

pytestmark = pytest.mark.slow

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = blobs(32)


def plan():
    """Hints up to the first block, then soft targets, then labels."""
    hint = losses.Hint("relu1", "relu1", projector=True)
    return Stages(
        [
            Stage(hint, 2, student_loss_weight=0.0, trainable=["conv1", "norm1"], optimizer="sgd"),
            Stage(losses.SoftTargets(4.0), 2, optimizer=keras.optimizers.Adam(1e-3)),
            Stage(None, 1),
        ]
    )


def student():
    keras.utils.set_random_seed(3)
    return small_network(4)


def fit(stages, teacher, model, **kwargs):
    options = {
        "loss": LABELS_LOSS,
        "metrics": ["accuracy"],
        "batch_size": 16,
        "shuffle": False,
        "verbose": 0,
    }
    return stages.fit(teacher, model, X, Y, **options | kwargs)


def test_one_history_of_all_stages(teacher):
    history = fit(plan(), teacher, student(), validation_data=(X, Y))
    assert history.epoch == [0, 1, 2, 3, 4]
    assert history.history["stage"] == [0, 0, 1, 1, 2]
    assert {len(values) for values in history.history.values()} == {5}
    assert np.isfinite(history.history["val_accuracy"]).all()
    np.testing.assert_array_equal(np.isnan(history.history["hint"]), [False, False, True, True, True])
    np.testing.assert_array_equal(
        np.isnan(history.history["soft_targets"]), [True, True, False, False, True]
    )


def test_a_stage_trains_only_its_layers(teacher):
    model = student()
    before = {v.path: v.numpy() for v in model.trainable_variables}
    fit(Stages(plan().stages[:1]), teacher, model)
    changed = {v.path for v in model.trainable_variables if not np.array_equal(before[v.path], v)}
    assert changed == {"conv1/kernel", "norm1/gamma", "norm1/beta"}
    assert all(layer.trainable for layer in model.layers)


class Stop(Exception):
    pass


def stop_at(epoch):
    def on_epoch_begin(current, logs=None):
        if current == epoch:
            raise Stop

    return keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)


@pytest.fixture(scope="module")
def whole(teacher):
    """A student of a run that was not interrupted, and its history."""
    model = student()
    return model, fit(plan(), teacher, model)


@pytest.mark.parametrize("epoch", [1, 2, 3], ids=["inside the first", "at the second", "inside the second"])
def test_an_interrupted_run_goes_on_to_the_same_weights(epoch, whole, teacher, tmp_path):
    expected_student, expected = whole
    with pytest.raises(Stop):
        fit(plan(), teacher, student(), backup_dir=tmp_path, callbacks=[stop_at(epoch)])
    resumed, seen = student(), []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda current, logs: seen.append(current))
    history = fit(plan(), teacher, resumed, backup_dir=tmp_path, callbacks=[record])
    assert seen == list(range(epoch, 5))
    assert history.epoch == [0, 1, 2, 3, 4]
    for ours, theirs in zip(resumed.weights, expected_student.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6, err_msg=ours.path)
    for key in ("loss", "accuracy", "hint"):
        np.testing.assert_allclose(history.history[key], expected.history[key], rtol=1e-3, atol=1e-6)


def test_killed_while_writing_it_goes_on_from_the_epoch_before(teacher, tmp_path, monkeypatch):
    write, written = files.write_text, []

    def interrupted(path, text):
        if len(written) == 1:
            raise Stop
        written.append(path)
        write(path, text)

    with monkeypatch.context() as patched, pytest.raises(Stop):
        patched.setattr(files, "write_text", interrupted)
        fit(plan(), teacher, student(), backup_dir=tmp_path)
    history = fit(plan(), teacher, student(), backup_dir=tmp_path)
    assert history.epoch == [0, 1, 2, 3, 4]


def test_a_finished_run_is_not_repeated_and_other_plans_are_refused(teacher, tmp_path):
    model, again = student(), student()
    fit(plan(), teacher, model, backup_dir=tmp_path)
    history = fit(plan(), teacher, again, backup_dir=tmp_path, callbacks=[stop_at(0)])
    assert history.epoch == [0, 1, 2, 3, 4]
    harness.assert_same_weights(harness.snapshot(model), again)
    other = plan()
    other.stages[1] = dataclasses.replace(other.stages[1], losses=losses.SoftTargets(3.0))
    for stages, tutor in ((other, teacher), (plan(), small_network(8))):
        with pytest.raises(ValueError, match="with another teacher or other stages"):
            fit(stages, tutor, student(), backup_dir=tmp_path)


def test_parts_of_a_later_stage_begin_alike_in_a_run_that_goes_on(teacher, tmp_path):
    """The second stage's projector is made after the interruption, with other random numbers around it."""

    def run(folder, seed, callbacks=()):
        keras.utils.set_random_seed(seed)
        hint = losses.Hint("relu1", "relu1", projector=True)
        model = student()
        # Where the interrupted run's random state was is forgotten.
        keras.utils.set_random_seed(seed)
        stages = Stages([Stage(losses.SoftTargets(), 1), Stage(hint, 1, student_loss_weight=0.0)])
        fit(stages, teacher, model, backup_dir=tmp_path / folder, callbacks=callbacks)
        return model

    with pytest.raises(Stop):
        run("interrupted", 1, [stop_at(1)])
    harness.assert_same_weights(harness.snapshot(run("whole", 1)), run("interrupted", 2))


def test_a_stage_that_stopped_early_is_finished(teacher, tmp_path):
    def run(*more):
        # As no epoch is so much better, the first is the best, and its weights are restored.
        early = keras.callbacks.EarlyStopping("loss", 100.0, patience=1, restore_best_weights=True)
        model = student()
        stages = Stages([Stage(losses.SoftTargets(), 4), Stage(losses.SoftTargets(), 1)])
        return model, fit(stages, teacher, model, backup_dir=tmp_path, callbacks=[early, *more]).history

    model, history = run()
    assert history["stage"] == [0, 0, 1]
    resumed, again = run(stop_at(0))
    assert again == history
    harness.assert_same_weights(harness.snapshot(model), resumed)


def test_bad_arguments(teacher):
    for build, error, message in (
        (lambda: Stages([]), ValueError, "`stages` is empty"),
        (lambda: Stages([losses.SoftTargets()]), TypeError, "must contain tfkd.schemes.Stage"),
        (lambda: Stage(None, 0), ValueError, "`epochs` must be an integer of at least 1"),
        (
            lambda: fit(Stages([Stage(losses.SoftTargets(), 1, trainable="conv9")]), teacher, student()),
            ValueError,
            "No layer 'conv9'",
        ),
        (lambda: WeightSchedule(decay=0), ValueError, "`decay` must be at least 1"),
        (lambda: WeightSchedule(warm_up=-1), ValueError, "`warm_up` must be at least 0"),
    ):
        with pytest.raises(error, match=message):
            build()


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (WeightSchedule(), [1, 1, 1, 1, 1, 1]),
        (WeightSchedule(warm_up=4), [0.25, 0.5, 0.75, 1, 1, 1]),
        (WeightSchedule(decay=4, final=0.25), [1, 0.8125, 0.625, 0.4375, 0.25, 0.25]),
        (WeightSchedule(stop=3), [1, 1, 1, 0, 0, 0]),
        (WeightSchedule(warm_up=2, decay=2, start=2), [0.5, 0.5, 0.5, 0.5, 0, 0]),
    ],
    ids=["none", "warm up", "decay", "stop", "later start"],
)
def test_factors_of_a_schedule(schedule, factors):
    np.testing.assert_allclose([schedule.factor(epoch) for epoch in range(6)], factors)


def test_a_schedule_weighs_its_loss_epoch_by_epoch(teacher):
    distiller = tfkd.Distiller(
        teacher, student(), [losses.SoftTargets(), losses.L1Logits()], [2.0, 3.0], student_loss_weight=0.0
    )
    distiller.compile(keras.optimizers.SGD(0.0))
    schedule = WeightSchedule("l1_logits", warm_up=2, stop=2)
    logs = distiller.fit(X, epochs=3, batch_size=32, callbacks=[schedule], verbose=0).history
    # Nothing is learned; the batch's statistics are the same in each epoch.
    expected = 2 * np.array(logs["soft_targets"]) + 3 * np.array([0.5, 1, 0]) * logs["l1_logits"]
    np.testing.assert_allclose(logs["loss"], expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"`loss` must be one of \['soft_targets', 'l1_logits'\]"):
        distiller.fit(X, callbacks=[WeightSchedule("hint")], verbose=0)
