"""Teachers of each ending by flags alone: a student, its TFLite file and the report."""

import json

import keras
import numpy as np
import pytest

import tfkd
from tests.cli import running
from tests.conftest import blobs, small_network
from tfkd.cli import data_free

pytestmark = [
    pytest.mark.program,
    pytest.mark.eager,
    pytest.mark.filterwarnings("ignore::tfkd.teachers.TeacherWarning"),
    pytest.mark.filterwarnings("ignore::tfkd.datafree.ObjectiveWarning"),
]
FLAGS = (
    "--epochs=1",
    "--steps_per_epoch=2",
    "--batch_size=16",
    "--memory=32",
    "--recipe=procedural",
    "--recipe_options=refine_steps=0",
    "--min_agreement=0",
    "--tflite=float32",
)
# How many outputs, what they end in, the task that is found, and what its student returns.
ENDINGS = {
    "two classes": (1, "sigmoid", "classification", 2),
    "labels": (3, "sigmoid", "multi_label", 3),
    "numbers": (1, None, "regression", 1),
}


@pytest.mark.parametrize("kind", ENDINGS)
def test_a_teacher_of_any_ending_becomes_a_student_for_phones(tmp_path, kind):
    units, activation, task, outputs = ENDINGS[kind]
    network = small_network(2)
    x = keras.layers.Dense(units, activation)(network.get_layer("flat").output)
    teacher = keras.Model(network.inputs, x)
    teacher.save(tmp_path / "teacher.keras")
    images, _ = blobs(20)
    # It is right by its own answers; one that is no better than chance would be refused.
    right = teacher.predict(images, verbose=0)
    if task != "regression":
        right = (right > 0.5).astype("int64")
    np.savez(tmp_path / "data.npz", x_test=images, y_test=right[:, 0] if units == 1 else right)
    folder = tmp_path / "out"
    typed = [f"--teacher={tmp_path}/teacher.keras", f"--eval_data={tmp_path}/data.npz"]
    running.run(data_free.PROGRAM, *typed, f"--output_dir={folder}", *FLAGS)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["task"] == task and metrics["complete"]
    answers = tfkd.export.run_tflite(folder / "student.tflite", images)
    student = keras.models.load_model(folder / "student.keras")
    assert answers.shape == (20, outputs)
    np.testing.assert_allclose(answers, student.predict(images, verbose=0), atol=1e-4)
    figure = next(iter(metrics["student"]["scores"])).replace("_", " ")
    assert figure in (folder / "report.html").read_text()
