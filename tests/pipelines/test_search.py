"""search: a whole run with data and without, interrupted, read again; what is wrong."""

import json
import os
import pathlib

import keras
import numpy as np
import pytest

import tfkd
from tests.conftest import blobs
from tests.pipelines import boards
from tfkd.datafree import Procedural
from tfkd.pipelines import search
from tfkd.pipelines._run_folder import Interrupted
from tfkd.searching import Budget
from tfkd.searching._lessons import LessonOnData

pytestmark = pytest.mark.program
SPACE = {"width": [0.25, 0.5, 1]}


@pytest.fixture(scope="module")
def asked(teacher_file, eval_file, tmp_path_factory):
    """What a run on data is asked for."""
    return {
        "teacher": teacher_file,
        "space": SPACE,
        "budget": Budget(parameters=2000, milliseconds=10.0),
        "training_data": blobs(160, seed=5),
        "epochs": 1,
        "batch_size": 32,
        "evaluation_data": eval_file,
        "tflite": "float16",
        "labels": ["a", "b", "c", "d"],
        "folder": tmp_path_factory.mktemp("search") / "out",
    }


@pytest.fixture(scope="module")
def searched(asked):
    return search(**asked)


def test_everything_is_written(searched):
    assert set(os.listdir(searched.folder)) == {
        "run.json",
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "model_card.json",
        "pareto.png",
        "student.keras",
        "student.tflite",
        "calibration.npz",
        "search",
        "tensorboard",
    }
    with open(os.path.join(searched.folder, "metrics.json"), encoding="utf-8") as file:
        metrics = json.load(file)
    assert metrics == json.loads(json.dumps(searched.metrics)) and searched.problem is None
    assert tfkd.export.read_metadata(searched.tflite)["labels"] == ["a", "b", "c", "d"]
    with open(os.path.join(searched.folder, "report.html"), encoding="utf-8") as file:
        report = file.read()
    assert "the best of 2" in report and "width=0.5" in report and "1 points were over" in report


def test_trials_are_sessions_of_tensorboard(searched):
    board = pathlib.Path(searched.folder) / "tensorboard"
    trials = searched.metrics["search"]["trials"]
    assert sorted(os.listdir(board)) == ["trial_001", "trial_002"]
    for number, trial in enumerate(trials, start=1):
        session = board / f"trial_{number:03d}"
        assert boards.hparams(session) == trial["point"]
        (parameters,) = boards.values(session, "parameters")
        assert parameters == trial["parameters"]


def test_the_best_student_is_measured_on_data_that_chose_nothing(searched, eval_file):
    metrics = searched.metrics
    assert len(metrics["search"]["trials"]) == 2 and metrics["search"]["over_budget"] == 1
    assert all(trial["milliseconds"] > 0 for trial in metrics["search"]["trials"])
    with np.load(eval_file) as arrays:
        x, y = arrays["x_test"][..., None] / 255, arrays["y_test"]
    right = searched.student.predict(x.astype("float32"), verbose=0).argmax(-1) == y
    assert metrics["student"]["accuracy"] == pytest.approx(right.mean())
    summary = searched.summary()
    assert "| width=0.5 |" in summary and "report.html" in summary and "student" in summary


def test_an_interrupted_run_goes_on_and_a_complete_one_is_read(
    searched, asked, tmp_path, monkeypatch, capsys
):
    folder, teach, taught = tmp_path / "out", LessonOnData.teach, []

    def interrupted(lesson, student, seed):
        taught.append(seed)
        if len(taught) == 2:
            raise KeyboardInterrupt
        teach(lesson, student, seed)

    monkeypatch.setattr(LessonOnData, "teach", interrupted)
    with pytest.raises(Interrupted):
        search(**{**asked, "folder": folder})
    with pytest.raises(ValueError, match="continue it with `resume`"):
        search(**{**asked, "folder": folder})
    with pytest.raises(ValueError, match="had other settings: `trials`=20"):
        search(**{**asked, "folder": folder, "trials": 1, "resume": True})
    resumed = search(**{**asked, "folder": folder, "resume": True})
    assert len(taught) == 3
    for ours, theirs in zip(resumed.student.get_weights(), searched.student.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    again = search(**{**asked, "folder": folder, "resume": True, "verbose": 1})
    assert "nothing to resume" in capsys.readouterr().out
    assert again.summary() == resumed.summary() and again.tflite == resumed.tflite
    search(**{**asked, "folder": folder, "overwrite": True, "tflite": None, "trials": 1})
    assert "student.tflite" not in os.listdir(folder)


def test_without_data(teacher, tmp_path):
    recipe = Procedural(epochs=1, steps_per_epoch=2, batch_size=16, memory=0, refine_steps=0)
    found = search(teacher, {"exit": ["relu1"]}, recipe=recipe, tflite=None, folder=tmp_path / "out")
    assert found.metrics["search"]["objective"] == "agreement" and found.tflite is None
    assert found.metrics["recipe"]["steps_per_epoch"] == 2
    saved = keras.models.load_model(tmp_path / "out" / "student.keras")
    assert saved.count_params() == found.student.count_params()
    assert "width" not in found.summary() and "exit=relu1" in found.summary()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"width": []}}, "'width' has no choices"),
        ({"budget": Budget(parameters=10)}, "`budget`: none of the points"),
        ({"tflite": "int3"}, "`tflite` must be one of"),
        ({"recipe": "procedurel"}, "Did you mean 'procedural'"),
        ({"labels": ["a"]}, "`labels`"),
        ({"strategy": "best"}, "`strategy` must be one of"),
    ],
)
def test_bad_input(asked, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        search(**{**asked, "evaluation_data": None, "folder": tmp_path / "out", **changes})
