"""The program in a process of its own, killed in its second stage and resumed."""

import keras
import numpy as np
import pytest

from tests.cli import running
from tfkd.cli import compress


@pytest.mark.kill
@pytest.mark.program
def test_killed_and_resumed_compression_equals_an_uninterrupted_one(teacher_file, tmp_path):
    flags = (
        f"--model={teacher_file}",
        "--prune=0.5",
        "--cluster=8",
        "--epochs=4",
        "--steps_per_epoch=3",
        "--batch_size=32",
        "--memory=64",
        "--recipe_options=refine_steps=0",
        "--tflite=none",
        "--seed=3",
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    state = killed / "state" / "clustered.weights.h5"
    running.kill_once_there(state, "tfkd.cli.compress", *flags, f"--output_dir={killed}")
    assert not (killed / "metrics.json").exists()
    running.run(compress.PROGRAM, *flags, f"--output_dir={whole}")
    resumed = running.run(compress.PROGRAM, *flags, f"--output_dir={killed}", "--resume")
    assert "pruned: 4 epochs, 4 of them done before" in resumed.stdout
    networks = [keras.models.load_model(folder / "model.keras") for folder in (whole, killed)]
    for expected, ours in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    assert not (killed / "state").exists() and not (killed / "run.lock").exists()
    again = running.run(compress.PROGRAM, *flags, f"--output_dir={killed}/", "--resume")
    assert "nothing to resume" in again.stdout
