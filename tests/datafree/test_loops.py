"""What a step repeats does the same written out and as a loop of the graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import SHAPE, small_network
from tfkd import datafree
from tfkd.datafree import _loops

RECIPES = [
    datafree.Procedural(batch_size=8, memory=32, replay_steps=3, refine_steps=3),
    datafree.Procedural(batch_size=8, memory=32, replay_steps=1, microbatches=2),
    datafree.DFAD(batch_size=8, generator_steps=3, student_steps=2),
    datafree.DAFL(batch_size=8, generator_steps=2, generator_order="same_images"),
    datafree.DFAD(batch_size=8, generator_steps=2, generator_order="same_latents"),
]


def trained(recipe):
    keras.utils.set_random_seed(1)
    teacher, student = small_network(), small_network()
    distiller = datafree.DataFreeDistiller(teacher, student, recipe, seed=2)
    distiller.compile()
    logs = distiller.fit(epochs=2, steps_per_epoch=2, verbose=0).history
    return distiller, logs


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.name} {recipe.batch_size}")
def test_loops_change_nothing(recipe, monkeypatch):
    monkeypatch.setattr(_loops, "_WRITTEN_OUT_WEIGHTS", 10**9)
    written_out, logs = trained(recipe)
    monkeypatch.setattr(_loops, "_WRITTEN_OUT_WEIGHTS", 0)
    in_loops, other_logs = trained(recipe)
    assert logs.keys() == other_logs.keys()
    for name, values in logs.items():
        np.testing.assert_allclose(values, other_logs[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for one, other in zip(written_out.variables, in_loops.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4, err_msg=one.path)


def operations_of_a_step(student):
    teacher = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    recipe = datafree.Procedural(batch_size=8, memory=32, replay_steps=5, refine_steps=2)
    distiller = datafree.DataFreeDistiller(teacher, student, recipe, seed=0)
    distiller.compile()
    step = tf.function(distiller.train_step).get_concrete_function(None)
    return [operation.type for operation in step.graph.get_operations()]


def test_large_networks_are_in_loops_and_small_ones_written_out():
    def network(depth):
        hidden = [keras.layers.Dense(4) for _ in range(depth)]
        layers = [keras.Input(SHAPE), keras.layers.Flatten(), *hidden, keras.layers.Dense(3)]
        return keras.Sequential(layers)

    assert "While" not in operations_of_a_step(network(2))
    assert "While" in operations_of_a_step(network(30))


@pytest.mark.parametrize("times", [0, 1, 7, 300])
@pytest.mark.parametrize("compiled", [True, False])
def test_a_value_is_handed_on(times, compiled):
    def summed(start):
        return _loops.iterated(times, lambda pair: (pair[0] + 1, pair[1] + pair[0]), start)

    function = tf.function(summed) if compiled else summed
    counted, total = function((tf.constant(0), tf.constant(0)))
    assert (int(counted), int(total)) == (times, sum(range(times)))
