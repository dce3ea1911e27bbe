"""A killed run, resumed, ends as an uninterrupted one."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests.datafree import killed
from tests.datafree.recipes import RECIPES

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize("name", RECIPES)
def test_killed_at_a_random_step_and_resumed(name, teacher, teacher_file, tmp_path):
    # After the first epoch, before which nothing is saved, and before the last step.
    step = np.random.default_rng(list(name.encode())).integers(3, 2 * killed.EPOCHS)
    process = subprocess.run(
        [sys.executable, "-m", "tests.datafree.killed", name, teacher_file, str(tmp_path), str(step)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == -signal.SIGKILL
    whole = killed.run(teacher, name, [])
    # Another seed, so that whatever is not restored shows.
    resumed = killed.run(teacher, name, [killed.backup(tmp_path)], seed=99)
    assert len(resumed.history.epoch) < killed.EPOCHS
    for variable, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_allclose(other, variable, rtol=1e-4, atol=1e-6, err_msg=variable.path)
