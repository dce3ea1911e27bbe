"""A run teaches, and a killed run, resumed, ends as a whole one; one recipe for each kind of state."""

import signal

import numpy as np
import pytest

from tests import harness
from tests.datafree import killed
from tests.datafree.recipes import RECIPES, RESUMED
from tests.killing import killer_of

pytestmark = pytest.mark.kill


@pytest.fixture(scope="module")
def killer():
    yield from killer_of("tests.datafree.killed")


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_teaches_and_resumes_when_killed(name, teacher, teacher_file, tmp_path, killer):
    recipe = RECIPES[name]
    before = harness.snapshot(teacher)
    whole = killed.run(teacher, name, [])
    assert np.isfinite(whole.history.history["loss"]).all()
    harness.assert_same_weights(before, teacher)
    # Fast's code gives its teacher as the student to judge by, so that nothing is adversarial.
    lesson = whole.source.lesson
    assert lesson.teacher is whole.teacher and lesson.student is whole.student
    taught = 2 * killed.EPOCHS - recipe.warmup_steps
    assert whole.optimizer.iterations.numpy() == taught * recipe.updates_per_step()
    # After the first epoch, before which nothing is saved, and before the last step.
    step = int(np.random.default_rng(list(name.encode())).integers(3, 2 * killed.EPOCHS))
    assert killer(name, teacher_file, str(tmp_path), step) == signal.SIGKILL
    expected = [variable.numpy() for variable in whole.variables]
    # The same distiller goes on from the other's backup: what that lacks is still as it was at the end.
    whole.fit(epochs=killed.EPOCHS, steps_per_epoch=2, verbose=0, callbacks=[killed.backup(tmp_path)])
    assert 0 < len(whole.history.epoch) < killed.EPOCHS
    for kept, variable in zip(expected, whole.variables, strict=True):
        np.testing.assert_allclose(variable, kept, rtol=1e-4, atol=1e-6, err_msg=variable.path)
