"""The program in a process of its own, killed and resumed."""

import json
import re

import keras
import numpy as np
import pytest

from tests.cli import running
from tfkd.cli import data_free


@pytest.mark.kill
@pytest.mark.program
def test_killed_and_resumed_run_equals_an_uninterrupted_one(teacher_file, tmp_path):
    flags = (
        f"--teacher={teacher_file}",
        "--epochs=6",
        "--steps_per_epoch=3",
        "--batch_size=32",
        "--memory=64",
        "--recipe=procedural",
        "--recipe_options=refine_steps=0",
        "--tflite=none",
        "--seed=3",
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    state = killed / "state" / "latest.weights.h5"
    running.kill_once_there(state, "tfkd.cli.data_free", *flags, f"--output_dir={killed}")
    assert not (killed / "metrics.json").exists()
    running.run(data_free.PROGRAM, *flags, f"--output_dir={whole}")
    resumed = running.run(data_free.PROGRAM, *flags, f"--output_dir={killed}", "--resume")
    assert re.search(r"resuming after epoch \d+ of 6", resumed.stdout)
    networks = [keras.models.load_model(folder / "student.keras") for folder in (whole, killed)]
    for expected, ours in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    rows = json.loads((killed / "history.json").read_text())
    assert [row["epoch"] for row in rows] == list(range(1, 7))
    assert not (killed / "state").exists()
    again = running.run(data_free.PROGRAM, *flags, f"--output_dir={killed}/", "--resume")
    assert "nothing to resume" in again.stdout
