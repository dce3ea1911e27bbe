"""Steps of warm-up and steps that teach are traced apart."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.datafree.killed import backup
from tests.datafree.recipes import RECIPES, make

WARMUP = 3
RECIPE = RECIPES["recovery"].with_options(warmup_steps=WARMUP)


class Stopped(Exception):
    """An interrupted run."""


class StopAfter(keras.callbacks.Callback):
    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs:
            raise Stopped


class Updates(keras.callbacks.Callback):
    """How often the student had been updated after each execution."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(int(self.model.optimizer.iterations))


def operations(step):
    graph = step.get_concrete_function(None).graph
    functions = graph.as_graph_def().library.function
    return [*graph.get_operations()], [node for function in functions for node in function.node_def]


@pytest.mark.parametrize("name", ["recovery", "guided prior"])
def test_no_step_holds_both(name, teacher):
    distiller = make(teacher, RECIPES[name].with_options(warmup_steps=WARMUP))
    counts = []
    for steps_done in (WARMUP - 1, WARMUP):
        distiller.steps_done.assign(steps_done)
        distiller._forget_traces()
        own, inner = operations(tf.function(distiller.train_step, autograph=False))
        kinds = [*(each.type for each in own), *(each.op for each in inner)]
        assert not {"If", "StatelessIf"}.intersection(kinds)
        counts.append(len(kinds))
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ("together", "run_eagerly", "taught"),
    [
        (1, False, [0, 0, 0, 1, 2, 3]),
        (1, True, [0, 0, 0, 1, 2, 3]),
        (2, False, [0, 0, 2]),
        (3, False, [0, 3]),
        # Each step is looked at.
        (2, True, [0, 1, 3]),
    ],
    ids=str,
)
def test_the_student_is_taught_from_the_execution_after_warm_up(teacher, together, run_eagerly, taught):
    distiller = make(teacher, RECIPE, steps_per_execution=together, run_eagerly=run_eagerly)
    updates = Updates()
    distiller.fit(epochs=1, steps_per_epoch=6, verbose=0, callbacks=[updates])
    assert updates.seen == [n * RECIPE.updates_per_step() for n in taught]
    assert int(distiller.steps_done) == 6


@pytest.mark.parametrize("epochs", [1, 2], ids=["in warm-up", "after it"])
def test_a_distiller_past_warm_up_goes_on_from_a_backup(teacher, tmp_path, epochs):
    whole, stopped = make(teacher, RECIPE), make(teacher, RECIPE)
    whole.fit(epochs=3, steps_per_epoch=2, verbose=0)
    expected = [variable.numpy() for variable in whole.variables]
    with pytest.raises(Stopped):
        stopped.fit(epochs=3, steps_per_epoch=2, verbose=0, callbacks=[backup(tmp_path), StopAfter(epochs)])
    whole.fit(epochs=3, steps_per_epoch=2, verbose=0, callbacks=[backup(tmp_path)])
    assert len(whole.history.epoch) == 3 - epochs
    for kept, variable in zip(expected, whole.variables, strict=True):
        np.testing.assert_allclose(variable, kept, rtol=1e-4, atol=1e-6, err_msg=variable.path)


def test_a_run_that_executions_leave_without_teaching_warns(teacher):
    distiller = make(teacher, RECIPE, steps_per_execution=4)
    with pytest.warns(UserWarning, match=r"warmup_steps=3 steps .*\(4 with steps_per_execution=4\)"):
        distiller.fit(epochs=1, steps_per_epoch=4, verbose=0)
    assert int(distiller.optimizer.iterations) == 0
