"""Two workers in two processes: the weights of one process, and what happens when one is killed."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.distilling.workers import distiller, fit
from tests.killing import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.kill]


def free_ports():
    """The first of two neighbouring ports that are free."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


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


@pytest.mark.parametrize("kind", ["labels", "data-free"])
def test_two_workers(kind, tmp_path, strategy):
    whole, other = run(kind, tmp_path)
    for name, value in whole.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)
    if kind == "labels":
        alone = distiller(kind)
        history = fit(alone, kind, []).history
        for i, variable in enumerate(alone.student.weights):
            np.testing.assert_allclose(whole[f"arr_{i}"], variable.numpy(), atol=1e-6)
    else:
        with strategy.scope():
            replicas = distiller(kind)
        history = fit(replicas, kind, []).history
        for i, variable in enumerate(replicas.student.weights):
            np.testing.assert_allclose(whole[f"arr_{i}"], variable.numpy(), atol=1e-6)
    for name, values in history.items():
        np.testing.assert_allclose(whole[f"logs/{name}"], values, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", ["labels", "data-free"])
def test_a_killed_worker_resumes(kind, tmp_path):
    killed, uninterrupted = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, uninterrupted):
        folder.mkdir()
    run(kind, killed, step=5)
    assert not (killed / "worker1.npz").exists()
    resumed, whole = run(kind, killed)[1], run(kind, uninterrupted)[1]
    for name, value in resumed.items():
        if name.startswith("arr_"):
            np.testing.assert_allclose(value, whole[name], atol=1e-6, err_msg=name)
