"""Where a data-free step's time goes."""

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfkd.datafree.distiller import DataFreeDistiller


def time_shares(distiller: DataFreeDistiller, repeats: int = 5) -> tuple[float, float]:
    """How a step's time divides, measured now on a few of its halves.

    Args:
        distiller: a compiled distiller; all its variables are put back afterwards.
        repeats: how often each half is timed.

    Returns:
        The shares of synthesis (generator updates, new inputs, the teacher's answers) and of
        student updates; they sum to 1.
    """
    recipe, synthesizer = distiller.recipe, distiller.synthesizer

    def synthesis():
        for _ in range(recipe.generator_steps):
            generated = distiller._generator_update()
        if recipe.same_inputs:
            return synthesizer.new_inputs(generated)
        return [synthesizer.new_inputs() for _ in range(recipe.student_steps)]

    def updates(images, logits):
        for _ in range(recipe.updates_per_step()):
            distiller._student_update(images, logits, new=False)

    with distiller.undisturbed():
        inputs = distiller._synthesize_batch()
        seconds = [
            median_seconds(tf.function(half, jit_compile=distiller.jit_compile), args, repeats)
            for half, args in (
                (synthesis, ()),
                (updates, (inputs, synthesizer.ask_teacher(inputs))),
            )
        ]
    return seconds[0] / sum(seconds), seconds[1] / sum(seconds)


def median_seconds(function: Callable, args: tuple, repeats: int) -> float:
    """Median time of a call, after one to warm up."""
    function(*args)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*args)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
