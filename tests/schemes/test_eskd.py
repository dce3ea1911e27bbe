"""Teachers that stopped early, chosen by student, and distillation that stops early."""

import os

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import blobs, small_network
from tfkd import losses, schemes
from tfkd._core import files
from tfkd.callbacks import KeepEpochs, StopDistilling, StudentLossWeightSchedule, WeightSchedule
from tfkd.distilling import LossSet

pytestmark = pytest.mark.slow

LABELS_LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
X, Y = blobs(32)
HELD_OUT = blobs(48, seed=1)


def small_student():
    return small_network(3, name="student")


def student():
    keras.utils.set_random_seed(3)
    return small_student()


def fitted(distiller, callbacks=(), **kwargs):
    options = {"epochs": 4, "batch_size": 16, "shuffle": False, "verbose": 0}
    return distiller.fit(X, Y, callbacks=list(callbacks), **options | kwargs).history


def compiled(teacher, network=None, share=0.5, optimizer=None):
    distiller = tfkd.Distiller(
        teacher, student() if network is None else network, losses.SoftTargets(4.0), None, share
    )
    distiller.compile(optimizer or keras.optimizers.SGD(0.05, 0.9), LABELS_LOSS, ["accuracy"])
    return distiller


class Values(keras.callbacks.Callback):
    """Gives epochs the values that a test wants to be monitored."""

    def __init__(self, *values):
        super().__init__()
        self.values = values

    def on_epoch_end(self, epoch, logs=None):
        assert logs is not None
        logs["watched"] = self.values[epoch]


def test_kept_epochs_are_whole_files(tmp_path, monkeypatch):
    network = small_network(4)
    network.compile("sgd", LABELS_LOSS)
    kept = KeepEpochs(tmp_path / "kept", every=2)
    assert kept.files == []
    weights = []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: weights.append(network.get_weights()))
    network.fit(X, Y, epochs=12, batch_size=32, verbose=0, callbacks=[kept, note])
    assert [os.path.basename(file) for file in kept.files] == [
        f"epoch_{epoch:04d}.keras" for epoch in range(2, 13, 2)
    ]
    for file, expected in zip(kept.files, weights[1::2], strict=True):
        harness.assert_same_weights(expected, keras.models.load_model(file))

    def interrupted(*args):
        raise OSError("the disk is full")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="nothing was changed"):
        patched.setattr(files.os, "replace", interrupted)
        network.fit(X, Y, epochs=2, batch_size=32, verbose=0, callbacks=[kept])
    assert os.listdir(tmp_path / "kept") and len(os.listdir(tmp_path / "kept")) == 6


def test_of_a_distiller_the_student_is_kept(teacher, tmp_path):
    distiller, kept = compiled(teacher), KeepEpochs(tmp_path)
    fitted(distiller, [kept], epochs=1)
    harness.assert_same_weights(harness.snapshot(distiller.student), keras.models.load_model(kept.files[0]))
    mutual = schemes.MutualDistiller([small_network(2), small_network(3)])
    mutual.compile(keras.optimizers.SGD(0.1), LABELS_LOSS)
    with pytest.raises(ValueError, match="trains 2 students"):
        mutual.fit(X, Y, verbose=0, callbacks=[kept])


def choose(candidates, **kwargs):
    options = {"validation_data": HELD_OUT, "loss": LABELS_LOSS, "epochs": 4, "batch_size": 16}
    options |= {"optimizer": keras.optimizers.Adam(1e-2), "shuffle": False, "verbose": 0}
    return schemes.choose_teacher(candidates, small_student, X, Y, **options | kwargs)


def test_the_teacher_is_chosen_by_its_student(teacher, teacher_file, tmp_path):
    """A teacher that is wrong about everything loses against one that is right, file or network."""
    wrong = keras.models.clone_model(teacher)
    wrong.set_weights([*teacher.get_weights()[:-2], *(-w for w in teacher.get_weights()[-2:])])
    choice = choose([wrong, teacher_file], student_loss_weight=0.0)
    assert choice.index == 1
    harness.assert_same_weights(harness.snapshot(teacher), choice.teacher)
    (bad, good) = choice.table
    assert [bad["name"], good["name"]] == [wrong.name, teacher_file]
    x, y = HELD_OUT
    for row, network in ((bad, wrong), (good, teacher)):
        expected = np.mean(network.predict(x, verbose=0).argmax(-1) == y)
        assert row["teacher"] == pytest.approx(expected)
    assert bad["student"] < good["student"]
    assert str(choice).splitlines()[2].startswith(f"* {teacher_file}")


def test_an_interrupted_choice_goes_on(teacher, tmp_path):
    def interrupt(epoch, logs=None):
        if epoch == 1 and os.path.exists(tmp_path / "1"):
            raise KeyboardInterrupt

    candidates = [teacher, small_network(8, name="untrained")]
    expected = choose(candidates, epochs=2, monitor="loss", mode="min")
    assert expected.index == int(expected.table[0]["student"] > expected.table[1]["student"])
    stop = keras.callbacks.LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        choose(candidates, epochs=2, monitor="loss", mode="min", backup_dir=tmp_path, callbacks=[stop])
    seen = []
    record = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    resumed = choose(
        candidates, epochs=2, monitor="loss", mode="min", backup_dir=tmp_path, callbacks=[record]
    )
    assert resumed.table == expected.table
    assert seen == [1]


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        (lambda t: [], {}, "`candidates` is empty"),
        (lambda t: ["teacher"], {"mode": "best"}, "`mode` must be one of 'max', 'min'"),
        (lambda t: [t], {"monitor": "val_acc", "epochs": 1}, "`monitor` must be one of"),
        (lambda t: [7], {}, "`candidates` must be a keras.Model"),
        (
            lambda t: [t],
            {"optimizer": keras.optimizers.SGD(1e30), "monitor": "loss"},
            "No student has a fin",
        ),
    ],
)
def test_bad_choices(candidates, options, message, teacher):
    with pytest.raises(ValueError, match=message):
        choose(candidates(teacher), **options)


@pytest.mark.parametrize(
    ("options", "values", "off"),
    [
        ({"patience": 1}, [3, 2, 1, 0.5], [False] * 4),
        ({"patience": 1}, [3, 3, 1, 1], [False, True, True, True]),
        ({"patience": 2}, [3, 4, 3, 1], [False, False, True, True]),
        ({"patience": 2}, [3, 4, 2, 2], [False, False, False, False]),
        ({"patience": 1, "min_delta": 0.5}, [3, 2.6, 0, 0], [False, True, True, True]),
        ({"patience": 1, "mode": "max"}, [1, 2, 1, 3], [False, False, True, True]),
        ({"patience": 1}, [float("nan"), 1, 2, 3], [False, False, True, True]),
    ],
)
def test_when_distillation_stops(options, values, off, teacher):
    distiller, seen = compiled(teacher), []
    stop = StopDistilling("watched", **options)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(stop.stopped))
    fitted(distiller, [Values(*values), stop, note])
    assert seen == off


def test_afterwards_the_labels_count_alone(teacher):
    """By plateau, by epoch, and as plain training goes on from there: the same weights."""
    stopped, scheduled = compiled(teacher), compiled(teacher)
    history = fitted(stopped, [Values(1, 2, 2, 2), StopDistilling("watched", patience=1)])
    fitted(scheduled, [StudentLossWeightSchedule(lambda epoch: 0.5 if epoch < 2 else 1.0)])
    harness.assert_same_weights(harness.snapshot(stopped.student), scheduled.student)
    np.testing.assert_array_equal(np.array(history["distillation_loss"]) > 0, [True, True, False, False])
    np.testing.assert_allclose(history["loss"][2:], history["student_loss"][2:], rtol=1e-6)
    plain, begun = student(), compiled(teacher)
    fitted(begun, epochs=2)
    plain.set_weights(begun.student.get_weights())
    plain.compile(keras.optimizers.SGD(0.05, 0.9), LABELS_LOSS)
    plain.optimizer.build(plain.trainable_variables)
    for ours, theirs in zip(plain.optimizer.variables, begun.optimizer.variables, strict=True):
        ours.assign(theirs)
    plain.fit(X, Y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    for ours, theirs in zip(plain.weights, stopped.student.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    # A schedule of the weight leaves the labels their share.
    weighted = fitted(compiled(teacher), [WeightSchedule(stop=2)])
    np.testing.assert_allclose(
        weighted["loss"][2:], 0.5 * np.array(weighted["student_loss"][2:]), rtol=1e-5
    )


@pytest.mark.parametrize("epoch", [1, 2, 3], ids=["waiting", "about to stop", "stopped"])
def test_what_it_has_seen_survives_an_interruption(epoch, teacher, tmp_path):
    values = Values(1, 2, 2, 2)

    def callbacks(folder):
        backup = keras.callbacks.BackupAndRestore(folder, delete_checkpoint=False)
        return [values, StopDistilling("watched", patience=2), backup]

    whole = compiled(teacher)
    fitted(whole, callbacks(tmp_path / "whole"))
    fitted(compiled(teacher), callbacks(tmp_path / "interrupted"), epochs=epoch)
    resumed = compiled(teacher)
    history = fitted(resumed, callbacks(tmp_path / "interrupted"))
    assert len(history["loss"]) == 4 - epoch and history["distillation_loss"][-1] == 0
    harness.assert_same_weights(harness.snapshot(whole.student), resumed.student)


def test_a_loss_set_from_before_there_was_a_plateau_loads():
    loss_set = LossSet([losses.SoftTargets(), losses.L1Logits()])
    loss_set.load_own_variables({"0": np.array([0.25, 0.5], "float32")})
    np.testing.assert_array_equal(loss_set.factors, [0.25, 0.5])
    np.testing.assert_array_equal(loss_set.plateau, [0, 0, 0])


def test_it_stops_all_students_of_a_scheme():
    mutual = schemes.MutualDistiller([small_network(2), small_network(3)])
    mutual.compile(keras.optimizers.SGD(0.01), LABELS_LOSS)
    fitted(mutual, [Values(1, 1), StopDistilling("watched", patience=1)], epochs=2)
    assert [float(each.factors[0]) for each in mutual.loss_sets] == [1.0, 1.0]
    fitted(mutual, [Values(1), StopDistilling("watched", patience=1)], epochs=1)
    assert [float(each.factors[0]) for each in mutual.loss_sets] == [0.0, 0.0]


def test_what_stop_distilling_refuses(teacher):
    for build, error, message in (
        (lambda: StopDistilling(patience=0), ValueError, "`patience` must be an integer of at least 1"),
        (lambda: StopDistilling(min_delta=-1), ValueError, "`min_delta` must be at least 0"),
        (lambda: StopDistilling(mode="up"), ValueError, "`mode` must be one of"),
        (lambda: KeepEpochs("folder", every=0), ValueError, "`every` must be an integer of at least 1"),
        (
            lambda: fitted(compiled(teacher, share=0.0), [StopDistilling()]),
            ValueError,
            "`student_loss_weight` is 0",
        ),
    ):
        with pytest.raises(error, match=message):
            build()
    network = small_network(2)
    network.compile("sgd", LABELS_LOSS)
    with pytest.raises(TypeError, match="StopDistilling is for distillers and schemes"):
        fitted(network, [StopDistilling()])
    with pytest.warns(UserWarning, match="No epoch had a finite 'val_loss'"):
        fitted(compiled(teacher), [StopDistilling()], epochs=1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"candidates": "teacher.keras"}, TypeError, "`candidates` must be a list.*'teacher.keras'"),
        ({"make_student": small_student()}, TypeError, "`make_student` must be a function"),
        ({"metrics": "accuracy"}, TypeError, r"`metrics` must be a list"),
        ({"validation_data": None}, ValueError, "`validation_data` is missing"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_of_a_choice_that_are_none(options, error, message):
    given = {"candidates": [small_student()], "make_student": small_student, "validation_data": HELD_OUT}
    given |= options
    with pytest.raises(error, match=message):
        schemes.choose_teacher(
            given.pop("candidates"), given.pop("make_student"), X, Y, loss=LABELS_LOSS, **given
        )
