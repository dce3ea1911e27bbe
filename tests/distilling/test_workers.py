"""Two workers in two processes: the weights of one process, and what happens when one is killed."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.distilling.workers import distiller, fit, free_ports
from tests.killing import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.kill]


def run(kind, folder, step=0):
    """Runs both, and kills the first when the second has ended, which waits for it for ever."""
    port = free_ports()
    command = [sys.executable, "-m", "tests.distilling.workers", str(port)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    of_worker = [str(folder), "0"], [str(folder), str(step)]
    first, second = (
        subprocess.Popen([*command, str(i), kind, *more], cwd=ROOT, env=env, stderr=subprocess.PIPE)
        for i, more in enumerate(of_worker)
    )
    ended = second.wait(timeout=240)
    if step:
        assert ended == -signal.SIGKILL
        first.kill()
    problems = [worker.communicate(timeout=60)[1].decode()[-2000:] for worker in (first, second)]
    if not step:
        assert first.returncode == second.returncode == 0, problems
        return [dict(np.load(folder / f"worker{i}.npz")) for i in range(2)]


def assert_same_run(workers, made, history):
    """Both workers have the student and the logs of a run in one process."""
    for saved in workers:
        for i, variable in enumerate(made.student.weights):
            np.testing.assert_allclose(
                saved[f"arr_{i}"], variable.numpy(), atol=1e-6, err_msg=variable.path
            )
        for name, values in history.items():
            np.testing.assert_allclose(saved[f"logs/{name}"], values, rtol=1e-4, atol=1e-6, err_msg=name)


def test_two_workers_learn_as_one_process(tmp_path):
    alone = distiller("labels")
    history = fit(alone, "labels", []).history
    assert_same_run(run("labels", tmp_path), alone, history)


def test_two_workers_make_images_as_two_replicas_and_resume_when_killed(tmp_path, strategy):
    with strategy.scope():
        replicas = distiller("data-free")
    history = fit(replicas, "data-free", []).history
    folders = [tmp_path / "whole", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    assert_same_run(run("data-free", folders[0]), replicas, history)
    run("data-free", folders[1], step=5)
    assert not (folders[1] / "worker1.npz").exists()
    of_last_epoch = {name: values[-1:] for name, values in history.items()}
    assert_same_run(run("data-free", folders[1]), replicas, of_last_epoch)
