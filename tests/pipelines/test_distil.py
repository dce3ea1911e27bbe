"""distil: one student, with everything and with nothing; several share the warm-up; interruptions."""

import dataclasses
import json
import os
import re

import keras
import numpy as np
import pytest

import tfkd
from tests import harness
from tests.conftest import CLASSES, SHAPE, blobs, small_network
from tests.datafree.recipes import TINY_GENERATOR
from tests.pipelines import boards
from tfkd.datafree import DAFL, Procedural
from tfkd.pipelines import distil

# So short runs teach little.
pytestmark = [pytest.mark.program, pytest.mark.filterwarnings("ignore::tfkd.datafree.HealthWarning")]
# What refines images takes longest to trace.
QUICK = Procedural(epochs=2, steps_per_epoch=3, batch_size=32, memory=64, refine_steps=0)
LABELS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def asked(teacher_file, eval_file, tmp_path_factory):
    return {
        "teacher": teacher_file,
        "recipe": QUICK,
        "evaluation_data": eval_file,
        "labels": LABELS,
        "seed": 1,
        "folder": tmp_path_factory.mktemp("run") / "out",
    }


@pytest.fixture(scope="module")
def distilled(asked):
    """A complete run with data to measure on and a folder."""
    return distil(**asked)


@pytest.fixture(scope="module")
def examples(eval_file):
    with np.load(eval_file) as arrays:
        return arrays["x_test"][..., None].astype("float32") / 255, arrays["y_test"]


def test_everything_is_written(distilled, asked):
    assert distilled.folder == str(asked["folder"]) and distilled.problem is None
    assert set(os.listdir(distilled.folder)) == {
        "run.json",
        "history.json",
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "model_card.json",
        "student.keras",
        "student.tflite",
        "calibration.npz",
        "images",
        "tensorboard",
    }
    assert len(os.listdir(asked["folder"] / "images")) == 2
    board = asked["folder"] / "tensorboard"
    assert boards.events(board / "validation", "epoch_accuracy") == [0, 1]
    assert boards.events(board / "train", "synthesized") == [0, 1]
    asked_for = boards.hparams(board)
    assert (asked_for["seed"], asked_for["recipe.batch_size"]) == (1, 32)
    assert json.loads((asked["folder"] / "metrics.json").read_text()) == distilled.metrics
    card = json.loads((asked["folder"] / "model_card.json").read_text())
    assert (
        card["parameters"] == distilled.student.count_params()
        and "never seen real data" in card["limits"][0]
    )
    assert {each["name"]: each["size_bytes"] for each in card["files"]} == {
        name: os.path.getsize(asked["folder"] / name)
        for name in ("student.keras", "student.tflite", "calibration.npz")
    }
    assert (asked["folder"] / "student.tflite").read_bytes() == distilled.tflite
    ((name, calibration),) = distilled.calibration.items()
    examples = tfkd.export.read_calibration(asked["folder"] / "calibration.npz")["serving_default"]
    assert name == "image" and 0 < len(examples) == len(calibration) <= 256
    np.testing.assert_array_equal(np.concatenate([each["image"] for each in examples]), calibration)
    saved = keras.models.load_model(asked["folder"] / "student.keras")
    harness.assert_same_weights(harness.snapshot(saved), distilled.student)


def test_metrics_tell_the_truth(distilled, examples):
    metrics, (x, y) = distilled.metrics, examples
    predicted = distilled.student.predict(x, verbose=0).argmax(-1)
    assert metrics["student"]["accuracy"] == pytest.approx(np.mean(predicted == y))
    assert metrics["teacher"]["accuracy"] > 0.9 and metrics["task"] == "classification"
    assert metrics["evaluation_images"] == len(x) and metrics["agreement_on"] == "real images"
    assert metrics["params"] == {
        "teacher": metrics["teacher"]["params"],
        "student": distilled.student.count_params(),
    }
    # Twice as many are drawn as the student gets.
    assert metrics["images_generated"] == 2 * (2 * 3 * 32)
    assert metrics["recipe"]["name"] == "procedural" and metrics["seed"] == 1
    assert (metrics["epochs"], metrics["steps_per_epoch"]) == (2, 3)
    parts = metrics["synthesis_seconds"] + metrics["student_seconds"]
    assert parts == pytest.approx(metrics["training_seconds"])
    assert metrics["wall_seconds"] > metrics["training_seconds"] > 0
    assert {"tfkd", "tensorflow", "keras", "python"} <= metrics["versions"].keys()
    statistics = metrics["batch_statistics"]
    assert statistics[statistics["kept"]]["accuracy"] == metrics["student"]["accuracy"]


def test_the_file_is_what_its_check_says(distilled, examples):
    x, y = examples
    lite = tfkd.export.run_tflite(distilled.tflite, x).argmax(-1)
    assert distilled.tflite_check.accuracy == pytest.approx(np.mean(lite == y))
    assert distilled.tflite_check.size_bytes == len(distilled.tflite)
    figures = {"quantization": "int8", **dataclasses.asdict(distilled.tflite_check)}
    assert distilled.metrics["tflite"] == figures
    assert tfkd.export.read_metadata(distilled.tflite)["labels"] == LABELS
    kinds = [(row["model"], row["quantization"]) for row in distilled.metrics["variants"]]
    assert kinds == [("teacher", "float32"), ("student", "float32"), ("student", "int8")]


def test_health_is_in_history_metrics_and_report(distilled):
    rows, health = distilled.history, distilled.metrics["health"]
    assert health["series"]["epoch"] == [row["epoch"] for row in rows] == [1, 2]
    assert health["series"]["health_agreement"] == [row["health_agreement"] for row in rows]
    with open(os.path.join(distilled.folder, "report.html"), encoding="utf-8") as file:
        html = file.read()
    assert ("Nothing found" in html) == (not health["findings"])
    assert all(finding["message"][:40] in html for finding in health["findings"])


def test_report_is_self_contained(distilled, tmp_path):
    distilled.report(tmp_path / "mine.html")
    html = (tmp_path / "mine.html").read_text()
    assert html.count("data:image/png;base64,") == 8
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    assert f"{distilled.metrics['student']['accuracy'] * 100:.2f} %" in html
    assert "used only to measure" in html


def test_a_summary_has_the_main_figures(distilled):
    summary = distilled.summary()
    assert f"accuracy {100 * distilled.metrics['student']['accuracy']:.2f} %" in summary
    assert f"{len(distilled.tflite):,} bytes (int8)" in summary
    assert os.path.join(distilled.folder, "report.html") in summary


def test_the_student_is_half_as_wide_by_default(distilled):
    assert distilled.student.get_layer("conv1").filters == 4
    assert distilled.student.output_shape == (None, 4)


def test_a_run_is_kept_unless_asked(distilled, asked):
    for changes, message in (
        ({}, "is not empty; continue it with `resume`, or replace it with `overwrite`"),
        ({"resume": True, "overwrite": True}, "exclude each other"),
        ({"resume": True, "seed": 2}, "had other settings: `seed`=1"),
        ({"folder": asked["folder"] / "images", "overwrite": True}, "does not contain a tfkd run"),
        ({"folder": asked["folder"] / "images", "resume": True}, "does not contain a tfkd run"),
        ({"folder": asked["folder"] / "run.json"}, "is a file"),
    ):
        with pytest.raises(ValueError, match=message):
            distil(**{**asked, **changes})
    with open(os.path.join(distilled.folder, "metrics.json"), encoding="utf-8") as file:
        assert json.load(file) == distilled.metrics


def test_a_complete_run_is_read_again(distilled, asked, tmp_path, capsys):
    again = distil(**asked, resume=True, verbose=2)
    assert "nothing to resume" in capsys.readouterr().out
    harness.assert_same_weights(harness.snapshot(again.student), distilled.student)
    for name in ("metrics", "history", "tflite", "tflite_check", "problem", "folder"):
        assert getattr(again, name) == getattr(distilled, name)
    again.report(tmp_path / "again.html")
    with open(os.path.join(distilled.folder, "report.html"), encoding="utf-8") as file:
        assert (tmp_path / "again.html").read_text() == file.read()


def test_networks_as_they_are_and_nothing_written(teacher, tmp_path, capsys, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("no such operation")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tfkd.export, "export_tflite", refuse)
    student = small_network(4)
    before = harness.snapshot(student)
    distilled = distil(teacher, student, QUICK)
    assert distilled.student is student and distilled.folder is None
    harness.assert_other_weights(before, student.weights)
    assert os.listdir(tmp_path) == [] and capsys.readouterr().out == ""
    # What cannot be converted costs no result.
    assert (distilled.tflite, distilled.tflite_check, distilled.metrics["tflite"]) == (None, None, None)
    assert distilled.problem == "there is no TFLite file: no such operation"
    assert distilled.metrics["problem"] == distilled.problem and distilled.metrics["variants"] == []
    assert distilled.metrics["student"]["accuracy"] is None and len(distilled.history) == 2
    distilled.report("report.html")
    assert "No real data was given" in (tmp_path / "report.html").read_text()


def test_a_black_box_teaches_where_another_run_was(teacher, tmp_path, capsys):
    black_box = tfkd.BlackBoxTeacher(
        lambda x: teacher.predict(x, verbose=0), SHAPE, CLASSES, from_logits=True
    )
    small_network(4).save(tmp_path / "mine.keras")
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("run.json", "mine.txt", "model.tflite"):
        (folder / name).write_text("{}")
    networks = black_box, tmp_path / "mine.keras"
    distilled = distil(*networks, QUICK, tflite="float32", folder=folder, overwrite=True, verbose=2)
    assert "no float32 file of the teacher" in capsys.readouterr().out
    assert [row["model"] for row in distilled.metrics["variants"]] == ["student"]
    assert distilled.tflite and distilled.problem is None
    # What is not of a run stays.
    assert (folder / "mine.txt").exists() and not (folder / "model.tflite").exists()


def test_a_loss_that_is_not_finite_keeps_a_student_and_says_so(teacher):
    recipe = QUICK.with_options(learning_rate=1e30)
    with pytest.warns(UserWarning, match="not finite"):
        distilled = distil(teacher, "0.5x", recipe, tflite=None)
    assert "the loss was no longer finite in epoch 1" in distilled.problem
    assert all(np.isfinite(w).all() for w in distilled.student.get_weights())


@pytest.mark.filterwarnings("ignore::tfkd.datafree.ObjectiveWarning")
@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_what_right_means_goes_by_the_task(task, tmp_path):
    x, corners = blobs(200)
    labels = np.stack([corners < 2, corners % 2 == 0], axis=-1)
    network = small_network(4)
    outputs = keras.layers.Dense(2, ending(task))(network.get_layer("flat").output)
    network = keras.Model(network.inputs, outputs)
    network.compile(keras.optimizers.Adam(5e-3), "mse")
    network.fit(x, labels.astype("float32"), epochs=8, verbose=0)
    teacher = tfkd.load_teacher(network, task=task)
    distilled = distil(teacher, "0.5x", QUICK, evaluation_data=(x, labels), tflite="float32")
    metrics = distilled.metrics
    assert metrics["task"] == task
    figure = {"multi_label": "accuracy", "regression": "mean_absolute_error"}[task]
    answers = distilled.student.predict(x, verbose=0)
    wrong = (answers > 0) != labels if task == "multi_label" else np.abs(answers - labels)
    expected = 1 - wrong.mean() if task == "multi_label" else wrong.mean()
    assert metrics["student"]["scores"][figure] == pytest.approx(expected, rel=1e-3)
    assert distilled.tflite_check.scores[figure] == pytest.approx(expected, rel=1e-2)
    assert figure.replace("_", " ") in distilled.summary()
    distilled.report(tmp_path / "report.html")


def ending(task):
    return "sigmoid" if task == "multi_label" else None


WARMING_UP = DAFL(**{**TINY_GENERATOR, "student_steps": 1, "steps_per_epoch": 4, "warmup_steps": 4})


def two_students():
    made = []
    for seed, width in ((1, 4), (2, 2)):
        keras.utils.set_random_seed(seed)
        made.append(small_network(width, name=f"of_{width}"))
    return made


@pytest.fixture(scope="module")
def shared(teacher):
    return distil(teacher, two_students(), WARMING_UP, tflite=None, seed=1)


def test_students_of_one_teacher_share_the_warm_up(teacher, shared):
    first, second = shared
    expected = []
    for student in two_students():
        keras.utils.set_random_seed(1)
        distiller = tfkd.DataFreeDistiller(teacher, student, WARMING_UP, seed=1)
        distiller.compile()
        if expected:
            distiller.take_over(expected[0])
        distiller.fit(steps_per_epoch=2 if expected else 4, verbose=0)
        expected.append(distiller)
    for result, distiller in zip((first, second), expected, strict=True):
        np.testing.assert_array_equal(
            [row["loss"] for row in result.history], distiller.history.history["loss"]
        )
        assert result.metrics["student_updates"] == 4
    assert (first.metrics["steps_per_epoch"], second.metrics["steps_per_epoch"]) == (4, 2)
    assert first.metrics["images_generated"] > second.metrics["images_generated"] > 0
    assert first.metrics["epochs"] == second.metrics["epochs"] == 2


def test_interrupted_students_go_on_to_the_same_weights(teacher, shared, tmp_path, monkeypatch):
    epochs, on_epoch_end = [], keras.callbacks.TensorBoard.on_epoch_end

    def interrupted(self, epoch, logs=None):
        # The state of this epoch has not been saved yet.
        epochs.append(epoch)
        if len(epochs) in (2, 5):
            raise KeyboardInterrupt
        on_epoch_end(self, epoch, logs)

    monkeypatch.setattr(keras.callbacks.TensorBoard, "on_epoch_end", interrupted)
    asked = {"teacher": teacher, "recipe": WARMING_UP, "tflite": None, "seed": 1, "folder": tmp_path}
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            distil(students=two_students(), resume=resume, **asked)
    resumed = distil(students=two_students(), resume=True, **asked)
    assert epochs == [0, 1, 1, 0, 1, 1]
    assert sorted(os.listdir(tmp_path)) == ["of_2", "of_4"]
    for expected, ours in zip(shared, resumed, strict=True):
        harness.assert_same_weights(harness.snapshot(expected.student), ours.student)
        assert [row["epoch"] for row in ours.history] == [1, 2]
        assert not os.path.exists(os.path.join(ours.folder, "state"))
        assert ours.metrics["images_generated"] == expected.metrics["images_generated"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "none.keras"}, "does not exist"),
        ({"recipe": "procedurel"}, "Did you mean 'procedural'"),
        ({"recipe": 3}, "`recipe` must be a tfkd.datafree recipe or its name"),
        ({"recipe": tfkd.datafree.BSS()}, "BSS makes its inputs from real examples"),
        ({"students": []}, "`students` must contain at least one"),
        ({"students": "resnet9"}, "6n \\+ 2"),
        ({"students": small_network(4), "inherit": True}, "`inherit`: only a scaled student"),
        ({"tflite": "int3"}, "`tflite` must be one of float32"),
        ({"labels": ["a", "b"]}, "`labels` must be 4 names"),
        ({"evaluation_data": (blobs(40)[0], np.roll(blobs(40)[1], 1))}, "no better than chance"),
        ({"resume": True}, "`resume` needs the `folder`"),
        (
            {"students": ["0.5x", "0.25x"], "recipe": DAFL(epochs=1, steps_per_epoch=2, warmup_steps=2)},
            "`warmup_steps` must be below the 2 steps",
        ),
    ],
)
def test_bad_input(teacher, changes, message):
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
        distil(**{"teacher": teacher, "students": "0.5x", "recipe": QUICK, **changes})
