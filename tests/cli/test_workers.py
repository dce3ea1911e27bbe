"""The programs under strategies: two workers in two processes, and flags that cannot be met."""

import json
import os
import re
import subprocess
import sys
import time

import keras
import pytest
import tensorflow as tf

from tests.cli import running
from tests.distilling.workers import free_ports, tf_config
from tests.killing import ROOT
from tfkd.cli import data_free, distill
from tfkd.cli._endings import BAD_INPUT, status_of
from tfkd.pipelines._team import Team

STARTED = ["--teacher=t.keras", "--output_dir=out"]


def start(folder, flags):
    """Starts two workers that write to a folder."""
    port = free_ports()
    command = [sys.executable, "-m", "tfkd.cli.data_free", *flags, f"--output_dir={folder}"]
    return [
        subprocess.Popen(
            [*command, "--strategy=multi_worker"],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "TF_CONFIG": tf_config(port, index),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


@pytest.mark.timeout(900)
@pytest.mark.kill
@pytest.mark.program
def test_two_workers_are_killed_and_resume(teacher_file, tmp_path):
    folder, flags = (
        tmp_path / "out",
        [
            f"--teacher={teacher_file}",
            "--epochs=8",
            "--steps_per_epoch=2",
            "--batch_size=16",
            "--memory=32",
            "--recipe=procedural",
            "--recipe_options=refine_steps=0",
            "--tflite=none",
        ],
    )
    kept = [
        folder / "state" / "latest.weights.h5",
        folder / "state" / "worker-1" / "state" / "latest.weights.h5",
    ]
    killed, deadline = start(folder, flags), time.time() + 400
    while not all(path.exists() for path in kept) and time.time() < deadline:
        time.sleep(0.02)
    for worker in killed:
        worker.kill()
    told = [worker.communicate() for worker in killed]
    assert all(path.exists() for path in kept), told
    assert not (folder / "metrics.json").exists()

    resumed = start(folder, [*flags, "--resume"])
    (chief, _), other = (worker.communicate(timeout=500) for worker in resumed)
    assert [worker.returncode for worker in resumed] == [0, 0], (chief, other)
    assert other[0] == "" and not re.search("tfkd|Warning", other[1])
    assert "replicas: 2, 1 of them in this process, on CPU" in chief
    assert re.search(r"resuming after epoch [1-9]\d* of 8", chief)
    written = {
        "run.json",
        "history.json",
        "metrics.json",
        "report.html",
        "MODEL_CARD.md",
        "model_card.json",
        "student.keras",
        "calibration.npz",
    }
    assert set(os.listdir(folder)) - written == {"images", "tensorboard"}
    rows = json.loads((folder / "history.json").read_text())
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["complete"] and metrics["problem"] is None and metrics["agreement"] > 0.3
    assert keras.models.load_model(folder / "student.keras").count_params() == metrics["params"]["student"]


def test_a_worker_that_another_one_has_left():
    with pytest.raises(RuntimeError, match="Another worker has ended") as raised, Team(None).together():
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")
    assert status_of(raised.value) == BAD_INPUT


@pytest.mark.parametrize("program", [data_free.PROGRAM, distill.PROGRAM], ids=lambda each: each.name)
def test_workers_that_nobody_has_named(program, monkeypatch):
    typed = [*STARTED, "--strategy=multi_worker"]
    if program is distill.PROGRAM:
        typed.append("--train_data=train.npz")
    monkeypatch.delenv("TF_CONFIG", raising=False)
    told = running.run(program, *typed, status=2).stderr
    assert "--strategy is multi_worker, but the environment has no TF_CONFIG" in told
    example = re.search(r"TF_CONFIG='(.*)'", told)
    assert example and json.loads(example[1])["task"] == {"type": "worker", "index": 0}


def test_a_damaged_cluster(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{")
    told = running.run(data_free.PROGRAM, *STARTED, "--strategy=multi_worker", status=2).stderr
    assert "TF_CONFIG cannot be used: " in told and '{"cluster": ' in told


def test_more_gpus_than_there_are():
    told = running.run(data_free.PROGRAM, *STARTED, "--gpus=99", status=2).stderr
    assert re.search(r"--gpus is 99, and TensorFlow finds \d+ on this machine", told)


def test_strategies_are_not_for_texts():
    typed = [*STARTED, "--task=text", "--train_data=a.csv", "--strategy=mirrored"]
    assert (
        "--strategy cannot be used with --task=text"
        in running.run(distill.PROGRAM, *typed, status=2).stderr
    )
