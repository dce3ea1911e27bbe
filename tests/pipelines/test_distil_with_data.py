"""distil_with_data: every scheme to its result, resuming, and what is refused."""

import json
import os
import re

import keras
import numpy as np
import pytest

from tests import harness
from tests.conftest import blobs, small_network
from tests.pipelines import boards
from tests.pipelines.test_datasets import save_folder, save_records
from tfkd import losses
from tfkd.export import read_metadata
from tfkd.pipelines import distil_with_data
from tfkd.pipelines._run_folder import Interrupted
from tfkd.pipelines._training_log import TrainingLog

pytestmark = pytest.mark.slow

X, Y = blobs(96)
HELD_OUT = blobs(64, seed=1)
SHORT = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "tflite": None, "training_data": (X, Y)}
SMALL = "0.5x"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Untrained networks, by name."""
    folder = tmp_path_factory.mktemp("networks")
    for name, width in (("net", 4), ("other", 3)):
        keras.utils.set_random_seed(1)
        small_network(width, name=name).save(folder / f"{name}.keras")
    return {name: str(folder / f"{name}.keras") for name in ("net", "other")}


def arguments(scheme, teacher_file, files):
    """Enough to run a scheme."""
    return {
        "distil": {"teacher": teacher_file},
        "mutual": {"students": [files["net"], files["other"]]},
        "self": {"students": files["net"], "scheme_options": {"exits": ("conv1",)}},
        "ensemble": {"teacher": [teacher_file, teacher_file], "scheme_options": {"weights": (2, 1)}},
        "assistants": {"teacher": teacher_file, "students": "0.25x", "scheme_options": ["sizes=0.5x"]},
        "generations": {"students": files["net"], "scheme_options": {"generations": 1, "tolerance": 0.5}},
        "eskd": {"teacher": teacher_file, "scheme_options": {"stop_epoch": 1}},
        "noisy_student": {
            "teacher": teacher_file,
            "scheme_options": {"iterations": 1, "augment": False},
            "unlabelled_data": HELD_OUT[0],
        },
    }[scheme]


def run(scheme, teacher_file, files, **changes):
    given = {**SHORT, **arguments(scheme, teacher_file, files), **changes}
    return distil_with_data(scheme=scheme, **given)


def test_a_whole_run_on_files_of_images(teacher_file, tmp_path, capsys):
    pixels = np.round(X * 255).astype("uint8")
    place = tmp_path / "out"
    distilled = distil_with_data(
        teacher_file,
        SMALL,
        training_data=save_folder(tmp_path / "images", pixels, Y),
        evaluation_data=save_records(
            tmp_path / "test.tfrecord",
            labels=HELD_OUT[1],
            pixels=np.round(HELD_OUT[0] * 255).astype("uint8"),
        ),
        losses="soft_targets:temperature=4,hint:teacher_layer=conv2:student_layer=conv2:projector=true",
        loss_weights=[1, 0.5],
        student_loss_weight=0.25,
        inherit=True,
        epochs=4,
        batch_size=32,
        learning_rate=0.01,
        folder=place,
        verbose=2,
    )
    metrics = distilled.metrics
    assert distilled.problem is None and distilled.tflite_check.agreement > 0.9
    assert metrics["student"]["accuracy"] > 0.9 and metrics["teacher"]["accuracy"] > 0.9
    assert (metrics["training_images"], metrics["validation_images"]) == (86, 10)
    assert (metrics["evaluation_images"], metrics["agreement_on"]) == (64, "evaluation examples")
    assert read_metadata(place / "student.tflite")["labels"] == ["a", "b", "c", "d"]
    assert [row["epoch"] for row in distilled.history] == [1, 2, 3, 4]
    assert {"hint", "soft_targets", "val_accuracy", "seconds"} <= set(distilled.history[0])
    assert json.loads((place / "metrics.json").read_text()) == metrics
    report = (place / "report.html").read_text()
    assert "taught by trained" in report and "held out" in report and report.count("data:image/png") == 4
    card = json.loads((place / "model_card.json").read_text())
    assert card["labels"] == card["tflite"]["labels"] == ["a", "b", "c", "d"]
    assert (
        card["origin"]["command"] == metrics["command"]
        and "# trained" in (place / "MODEL_CARD.md").read_text()
    )
    printed = capsys.readouterr().out
    assert "teacher accuracy on 64 real examples" in printed and "epoch 4/4" in printed
    assert "evaluation examples" in distilled.summary()
    assert boards.events(place / "tensorboard" / "validation", "epoch_accuracy") == [0, 1, 2, 3]
    assert boards.hparams(place / "tensorboard")["learning_rate"] == 0.01
    assert not (place / "state").exists() and not (place / "run.lock").exists()
    harness.assert_same_weights(
        distilled.student.get_weights(), keras.models.load_model(place / "student.keras")
    )


def interrupt(monkeypatch, epoch):
    """Has a run be interrupted at the end of its n-th epoch, before that is saved."""
    original, ended = TrainingLog.on_epoch_end, []

    def on_epoch_end(self, number, logs=None):
        original(self, number, logs)
        ended.append(number)
        if len(ended) == epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingLog, "on_epoch_end", on_epoch_end)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["distil", "generations"])
def test_an_interrupted_run_goes_on_to_the_same_weights(scheme, teacher_file, files, tmp_path, monkeypatch):
    whole = run(scheme, teacher_file, files)
    # In the last epoch of all.
    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        interrupt(patched, len(whole.history))
        run(scheme, teacher_file, files, folder=tmp_path)
    resumed = run(scheme, teacher_file, files, folder=tmp_path, resume=True)
    harness.assert_same_weights(whole.student.get_weights(), resumed.student)
    without_times = [[{**row, "seconds": 0} for row in each.history] for each in (whole, resumed)]
    assert without_times[0] == without_times[1]
    assert resumed.problem is None and resumed.metrics["scheme"]["name"] == scheme
    names = [f"{each['name']}.keras" for each in resumed.metrics["networks"]]
    assert sorted(names) == (sorted(os.listdir(tmp_path / "students")) if names else [])
    # A complete run is read.
    read = run(scheme, teacher_file, files, folder=tmp_path, resume=True)
    harness.assert_same_weights(resumed.student.get_weights(), read.student)
    assert read.history == resumed.history
    with pytest.raises(ValueError, match=r"`resume`: the run in .* had other settings: `epochs`=2"):
        run(scheme, teacher_file, files, folder=tmp_path, resume=True, epochs=3)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["ensemble", "assistants", "eskd", "self"])
def test_other_schemes(scheme, teacher_file, files):
    result = run(scheme, teacher_file, files)
    metrics = result.metrics
    if scheme == "ensemble":
        assert metrics["params"]["teacher"] == 2 * keras.models.load_model(teacher_file).count_params()
    elif scheme == "assistants":
        sizes = [each["params"] for each in metrics["networks"]]
        assert metrics["params"]["teacher"] > sizes[0] > sizes[1] == metrics["params"]["student"]
    elif scheme == "self":
        assert metrics["teacher"] is metrics["agreement"] is None and len(result.student.outputs) == 1
        (with_exits,) = metrics["networks"]
        assert with_exits["accuracy"] == metrics["student"]["accuracy"]
        assert with_exits["params"] > metrics["student"]["params"] and "teacher" not in result.summary()
    else:
        losses_of_teacher = [row["distillation_loss"] for row in result.history]
        assert losses_of_teacher[0] > 0 and losses_of_teacher[1] == 0
    assert len(result.history) == (4 if scheme == "assistants" else 2)


def test_losses_and_networks_as_objects(teacher_file):
    student = small_network(4, name="student")
    before = student.get_weights()
    given = {**SHORT, "epochs": 1, "scheme_options": {"patience": 1}}
    result = distil_with_data(teacher_file, student, "eskd", losses=losses.SoftTargets(2.0), **given)
    assert result.student is student and any(
        (a != b).any() for a, b in zip(before, student.get_weights(), strict=True)
    )
    assert result.folder is None and result.tflite is None


def test_training_that_had_to_stop_is_a_problem(teacher_file, files):
    with pytest.warns(UserWarning, match="loss is not finite"):
        result = run("distil", teacher_file, files, learning_rate=1e30, optimizer="sgd")
    assert "the loss was no longer finite in epoch 1" in result.problem
    assert all(np.isfinite(weights).all() for weights in result.student.get_weights())


@pytest.mark.parametrize(
    ("scheme", "changes", "message"),
    [
        ("distil", {"teacher": None}, "`teacher`: scheme 'distil' needs one trained network"),
        ("ensemble", {"teacher": "t.keras"}, "`teacher`: scheme 'ensemble' needs at least 2.*Received: 1"),
        ("distil", {"teacher": ["a.keras", "b.keras"]}, "`teacher`: scheme 'distil' takes 1 at most"),
        ("mutual", {"students": "net.keras"}, "`students`: scheme 'mutual' needs at least 2"),
        ("mutual", {"students": ["0.5x", "0.25x"]}, "'0.5x' is derived from a `teacher`"),
        ("self", {"students": None}, "`students`: without a `teacher`, scheme 'self' needs a network"),
        ("mutual", {"student_loss_weight": 0.5}, "`student_loss_weight` has no effect in scheme 'mutual'"),
        (
            "noisy_student",
            {"unlabelled_data": None},
            "`unlabelled_data` is missing: scheme 'noisy_student'",
        ),
        ("distil", {"unlabelled_data": X}, "`unlabelled_data` has no effect in scheme 'distil'"),
        ("eskd", {"scheme_options": ["stop_epoch=2"]}, "stop_epoch must be below the 2 `epochs`"),
        ("distil", {"resume": True}, "`resume` needs the `folder`"),
        ("distil", {"epochs": 0}, "`epochs` must be"),
        ("distil", {"learning_rate": 0}, "`learning_rate` must be"),
        ("distil", {"tflite": "int3"}, "`tflite` must be one of"),
        ("distil", {"losses": "soft"}, "Unknown loss in `losses` 'soft'"),
        ("distil", {"validation_split": 1.0}, "`validation_split` must be above 0 and below 1"),
        ("distil", {"training_data": "none.npz"}, "`training_data`: the file 'none.npz' does not exist"),
        ("distil", {"training_data": "none"}, "`training_data`: the file 'none' does not exist"),
        ("distil", {"training_data": (X, Y + 1)}, "the labels of `training_data`"),
        ("distil", {"losses": "hint:teacher_layer=conv9:student_layer=conv2"}, "conv9"),
        ("self", {"scheme_options": {"exits": ("conv9",)}}, "conv9"),
        ("distil", {"labels": ["a", "b"]}, "`labels`"),
    ],
)
def test_what_is_refused(scheme, changes, message, teacher_file, files):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(scheme, teacher_file, files, **changes)


def test_folders_to_measure_on_must_be_those_of_training(teacher_file, files, tmp_path):
    pixels = np.round(X[:40] * 255).astype("uint8")
    source = save_folder(tmp_path / "train", pixels, Y[:40])
    other = save_folder(tmp_path / "test", pixels, Y[:40])
    os.rename(tmp_path / "test/b", tmp_path / "test/e")
    with pytest.raises(
        ValueError, match=r"`evaluation_data`: its folders must have the names .* b, c, d\. Received"
    ):
        run("distil", teacher_file, files, training_data=source, evaluation_data=other)


@pytest.mark.parametrize("kind", ["folder", "records"])
def test_an_image_that_cannot_be_decoded_is_named(kind, teacher_file, files, tmp_path):
    pixels = np.round(X[:40] * 255).astype("uint8")
    if kind == "folder":
        source = save_folder(tmp_path / "images", pixels, Y[:40])
        broken = sorted((tmp_path / "images/b").glob("*.png"))[0]
        broken.write_bytes(broken.read_bytes()[:40])
        message = f"`training_data`: '{broken}' cannot be decoded as an image"
    else:
        source = save_records(tmp_path / "x.tfrecord", labels=Y[:40], pixels=pixels, broken=7)
        message = f"`training_data`: record 7 of {source} cannot be decoded as an image"
    with pytest.raises(ValueError, match=re.escape(message)):
        run("distil", teacher_file, files, training_data=source)


def test_a_teacher_no_better_than_chance_is_refused(teacher_file, files):
    with pytest.raises(ValueError, match=r"no better than chance.*labels of `training_data`"):
        run("distil", teacher_file, files, training_data=(X, np.roll(Y, 1)))
