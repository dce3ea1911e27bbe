"""The program as users start it: by flags; in a process of its own where that matters."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from absl.testing import flagsaver

import tfkd
from tests.cli import running
from tests.conftest import small_network
from tfkd.cli import data_free, outcome, run_folder, shared_flags

FAST = ("--epochs=2", "--steps_per_epoch=3", "--batch_size=32", "--memory=64", "--seed=1")


def command(*flags):
    return [sys.executable, "-m", "tfkd.cli.data_free", *flags]


run = functools.partial(running.run, data_free)


@pytest.fixture(scope="module")
def finished(teacher_file, eval_file, tmp_path_factory):
    """A complete run with data to measure on."""
    folder = tmp_path_factory.mktemp("run") / "out"
    done = run(f"--teacher={teacher_file}", f"--eval_data={eval_file}", f"--output_dir={folder}", *FAST)
    return folder, done


def test_everything_is_written(finished):
    folder, _ = finished
    assert set(os.listdir(folder)) == {
        "run.json",
        "history.json",
        "metrics.json",
        "report.html",
        "student.keras",
        "student.tflite",
        "images",
        "tensorboard",
    }
    assert len(os.listdir(folder / "images")) == 2
    assert any("tfevents" in name for _, _, names in os.walk(folder / "tensorboard") for name in names)


def test_metrics_tell_the_truth(finished, eval_file):
    folder, done = finished
    metrics = json.loads((folder / "metrics.json").read_text())
    student = keras.models.load_model(folder / "student.keras")
    arrays = np.load(eval_file)
    x = arrays["x_test"][..., None].astype("float32") / 255
    predicted = student.predict(x, verbose=0).argmax(-1)
    assert metrics["student"]["accuracy"] == pytest.approx(np.mean(predicted == arrays["y_test"]))
    assert metrics["teacher"]["accuracy"] > 0.9
    assert f"{metrics['teacher']['accuracy']:.2%}" in done.stdout
    content = (folder / "student.tflite").read_bytes()
    assert metrics["tflite"]["size_bytes"] == len(content)
    lite = tfkd.export.run_tflite(content, x).argmax(-1)
    assert metrics["tflite"]["accuracy"] == pytest.approx(np.mean(lite == arrays["y_test"]))
    assert metrics["params"] == {
        "teacher": metrics["teacher"]["params"],
        "student": student.count_params(),
    }
    # Twice as many are drawn as the student gets.
    assert metrics["images_generated"] == 2 * (2 * 3 * 32)
    assert metrics["recipe"]["name"] == "procedural" and metrics["seed"] == 1
    parts = metrics["synthesis_seconds"] + metrics["student_seconds"]
    assert parts == pytest.approx(metrics["training_seconds"])
    assert metrics["wall_seconds"] > metrics["training_seconds"] > 0
    assert {"tfkd", "tensorflow", "keras", "python"} <= metrics["versions"].keys()
    assert "agreement" in metrics
    statistics = metrics["batch_statistics"]
    assert statistics[statistics["kept"]]["accuracy"] == metrics["student"]["accuracy"]


def test_health_is_in_history_metrics_and_report(finished):
    folder, done = finished
    rows = json.loads((folder / "history.json").read_text())
    health = json.loads((folder / "metrics.json").read_text())["health"]
    assert health["series"]["epoch"] == [1, 2]
    assert health["series"]["health_agreement"] == [row["health_agreement"] for row in rows]
    html = (folder / "report.html").read_text()
    for finding in health["findings"]:
        assert finding["message"] in done.stderr and finding["message"][:40] in html
    assert ("Nothing found" in html) == (not health["findings"])


def test_report_is_self_contained(finished):
    folder, _ = finished
    html = (folder / "report.html").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert html.count("data:image/png;base64,") == 5
    assert not re.search(r'(src|href)=(?!"data:)', html)
    assert f"{metrics['student']['accuracy'] * 100:.2f} %" in html
    assert "used only to measure" in html


def test_student_is_half_as_wide_by_default(finished, teacher_file):
    student = keras.models.load_model(finished[0] / "student.keras")
    assert student.get_layer("conv1").filters == 4
    assert student.output_shape == (None, 4)


def test_existing_folder_is_kept_unless_asked(finished, teacher_file, eval_file):
    folder, _ = finished
    before = (folder / "metrics.json").read_text()
    same = (
        f"--teacher={teacher_file}",
        f"--eval_data={eval_file}",
        f"--output_dir={folder}",
        *FAST,
    )
    refused = run(*same, status=2)
    assert "is not empty; continue it with --resume, or replace it with --overwrite" in refused.stderr
    assert "nothing to resume" in run(*same, "--resume").stdout
    moved = run(*same[:2], f"--output_dir={folder}/", *FAST, "--resume")
    assert "nothing to resume" in moved.stdout
    changed = run(*same[:-1], "--seed=2", "--resume", status=2)
    assert "had other flags: --seed=1" in changed.stderr
    assert (folder / "metrics.json").read_text() == before


def test_without_data_other_recipe_flagfile_and_overwrite(teacher_file, tmp_path):
    flagfile = tmp_path / "run.flags"
    folder = tmp_path / "out"
    options = ["filters=4", "latent_size=5", "prior=smooth_noise,strokes", "prior_share=0.5"]
    flagfile.write_text(
        "\n".join(
            [
                f"--teacher={teacher_file}",
                f"--output_dir={folder}",
                "--recipe=DFAD",
                "--tflite=none",
            ]
            + [f"--recipe_options={option}" for option in options]
            + [*FAST, "--student=0.25x"]
        )
    )
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "mine.txt").write_text("not the program's")
    run(f"--flagfile={flagfile}", "--overwrite")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["student"]["accuracy"] is None and metrics["tflite"] is None
    assert metrics["recipe"]["filters"] == 4 and metrics["recipe"]["prior"] == [
        "smooth_noise",
        "strokes",
    ]
    assert "No real data was given" in (folder / "report.html").read_text()
    assert (folder / "mine.txt").exists() and not (folder / "student.tflite").exists()


def test_killed_and_resumed_run_equals_an_uninterrupted_one(teacher_file, tmp_path):
    flags = (
        f"--teacher={teacher_file}",
        "--epochs=6",
        "--steps_per_epoch=3",
        "--batch_size=32",
        "--memory=64",
        "--tflite=none",
        "--seed=3",
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(*flags, f"--output_dir={whole}")
    process = subprocess.Popen(
        command(*flags, f"--output_dir={killed}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = killed / "state" / "latest.weights.h5"
    deadline = time.time() + 120
    while not state.exists() and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.exists() and not (killed / "metrics.json").exists()
    resumed = run(*flags, f"--output_dir={killed}", "--resume")
    assert re.search(r"resuming after epoch \d+ of 6", resumed.stdout)
    networks = [keras.models.load_model(folder / "student.keras") for folder in (whole, killed)]
    for expected, ours in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    rows = json.loads((killed / "history.json").read_text())
    assert [row["epoch"] for row in rows] == list(range(1, 7))
    assert not (killed / "state").exists()


def test_a_teacher_that_tflite_cannot_represent_costs_no_result(teacher, tmp_path, capsys, monkeypatch):
    def export(model, path, quantization, **data):
        if model is teacher or quantization == "int8":
            raise RuntimeError("no such operation")
        return tfkd.export.TFLiteCheck(1, 1, 1.0, 1.0, 1.0, 0.0)

    monkeypatch.setattr(outcome.export, "export_tflite", export)
    distiller = tfkd.DataFreeDistiller(teacher, small_network(4))
    folder = run_folder.RunFolder(str(tmp_path / "out"), {}, resume=False, overwrite=False)
    result = outcome.Outcome(distiller, folder, None, {"tflite": "int8", "labels": None})
    assert list(result._export()) == [("student", "float32")]
    assert "No float32 TFLite file of the teacher: no such operation" in capsys.readouterr().out
    assert result.problem == "there is no student.tflite: no such operation"


def test_a_black_box_leaves_a_file_and_a_report(teacher, tmp_path):
    tfkd.export.export_tflite(teacher, tmp_path / "teacher.tflite")
    small_network(4).save(tmp_path / "student.keras")
    flags = (f"--teacher={tmp_path / 'teacher.tflite'}", f"--student={tmp_path / 'student.keras'}")
    flags += ("--recipe_options=refine_steps=0", "--labels=a,b,c,d")
    done = run(*flags, f"--output_dir={tmp_path / 'out'}", *FAST)
    assert "No float32 TFLite file of the teacher" in done.stdout
    content = (tmp_path / "out/student.tflite").read_bytes()
    assert tfkd.export.read_metadata(content)["labels"] == ["a", "b", "c", "d"]
    assert (tmp_path / "out/report.html").exists()


def test_loss_that_is_not_finite_keeps_a_student_and_says_so(teacher_file, tmp_path):
    folder = tmp_path / "out"
    done = run(
        f"--teacher={teacher_file}",
        f"--output_dir={folder}",
        *FAST,
        "--epochs=3",
        "--tflite=none",
        "--recipe_options=learning_rate=1e30",
        status=1,
    )
    assert "the loss was no longer finite in epoch 1" in done.stderr
    student = keras.models.load_model(folder / "student.keras")
    assert all(np.isfinite(w).all() for w in student.get_weights())
    assert "no longer finite" in json.loads((folder / "metrics.json").read_text())["stopped"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ([], {"from_logits": None, "output": None}),
        (["--from_logits=true", "--teacher_output=1"], {"from_logits": True, "output": 1}),
        (["--from_logits=false", "--teacher_output=kind"], {"from_logits": False, "output": "kind"}),
    ],
)
def test_how_the_teacher_ends_can_be_said(typed, expected):
    with flagsaver.flagsaver():
        data_free.FLAGS(["program", "--teacher=t.h5", "--output_dir=out", *typed])
        assert shared_flags.ending() == expected


def test_bad_input_ends_with_one_message(teacher_file, eval_file, tmp_path):
    other = small_network(4)
    other_shape = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    for name, model in (("untrained", other), ("other_shape", other_shape)):
        model.save(tmp_path / f"{name}.keras")
    (tmp_path / "broken.keras").write_text("nothing")
    (tmp_path / "file").write_text("")
    full = tmp_path / "full"
    full.mkdir()
    (full / "holiday.jpg").write_text("precious")
    good = {"teacher": teacher_file, "output_dir": tmp_path / "out", "epochs": 1}
    for changes, message in (
        ({"teacher": tmp_path / "none.keras"}, "there is no file"),
        ({"teacher": tmp_path / "broken.keras"}, "not a .keras file"),
        ({"student": tmp_path / "other_shape.keras"}, "same input shape"),
        ({"student": tmp_path / "broken.keras"}, "--student"),
        ({"labels": "a,b"}, "`labels` must be 4 names"),
        ({"output_dir": tmp_path / "file"}, "is a file"),
        ({"output_dir": "/proc/nobody/writes/here"}, "cannot be written"),
        ({"teacher": tmp_path / "untrained.keras", "eval_data": eval_file}, "no better than chance"),
        ({"output_dir": full, "overwrite": "true"}, "no run of this program"),
    ):
        flags = [f"--{name}={value}" for name, value in {**good, **changes}.items()]
        done = run(*flags, status=2)
        assert message in done.stderr and "Traceback" not in done.stderr
    assert os.listdir(full) == ["holiday.jpg"]
    # A run that never began is in nobody's way.
    assert not os.listdir(tmp_path / "out")
