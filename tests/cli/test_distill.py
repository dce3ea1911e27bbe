"""The program in a process of its own, killed and resumed."""

import keras
import numpy as np
import pytest

from tests import harness, text_folder
from tests.cli import running
from tests.conftest import blobs
from tfkd.cli import distill


@pytest.mark.kill
@pytest.mark.program
def test_killed_and_resumed_run_equals_an_uninterrupted_one(teacher_file, tmp_path):
    x, y = blobs(96)
    np.savez(tmp_path / "train.npz", x_train=x, y_train=y)
    typed = [f"--teacher={teacher_file}", f"--train_data={tmp_path / 'train.npz'}", "--student=0.25x"]
    typed += ["--scheme=assistants", "--scheme_options=sizes=0.5x"]
    typed += ["--epochs=6", "--batch_size=16", "--tflite=none"]
    out = tmp_path / "out"
    # In the midst of the second link.
    begun = out / "state/scheme/1/progress.json"
    running.kill_once_there(begun, "tfkd.cli.distill", *typed, f"--output_dir={out}")
    assert not (out / "metrics.json").exists()
    running.run(distill.PROGRAM, *typed, f"--output_dir={out}", "--resume")
    running.run(distill.PROGRAM, *typed, f"--output_dir={tmp_path / 'whole'}")
    whole = keras.models.load_model(tmp_path / "whole/student.keras")
    harness.assert_same_weights(whole.get_weights(), keras.models.load_model(out / "student.keras"))


@pytest.mark.kill
@pytest.mark.program
def test_a_killed_run_of_texts_equals_an_uninterrupted_one(tmp_path):
    encoder = text_folder.write_folder(tmp_path / "encoder")
    lines = text_folder.write_tsv(tmp_path / "train.tsv", *text_folder.sentences(96))
    typed = ["--task=text", f"--teacher={encoder}", f"--train_data={lines}", "--student=1layers"]
    typed += ["--epochs=40", "--teacher_epochs=1", "--max_length=16", "--tflite=none"]
    out = tmp_path / "out"
    # Behind the teacher's training, in the midst of the student's.
    begun = out / "state/scheme/progress.json"
    running.kill_once_there(begun, "tfkd.cli.distill", *typed, f"--output_dir={out}")
    assert not (out / "metrics.json").exists() and (out / "teacher.keras").exists()
    running.run(distill.PROGRAM, *typed, f"--output_dir={out}", "--resume")
    running.run(distill.PROGRAM, *typed, f"--output_dir={tmp_path / 'whole'}")
    whole = keras.models.load_model(tmp_path / "whole/student.keras")
    harness.assert_same_weights(whole.get_weights(), keras.models.load_model(out / "student.keras"))
