"""Where the time of a data-free run goes."""

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.datafree._distiller import DataFreeDistiller

# Student updates are alike, so a few of them stand for all.
_TIMED_UPDATES = 10


def time_shares(distiller: DataFreeDistiller, repeats: int = 5) -> tuple[float, float]:
    """How the time of the steps taken divides, measured now on a few of a step's halves.

    Args:
        distiller: a compiled distiller; all its variables are put back afterwards, but for an empty memory
            that inversion fills.
        repeats: how often each half is timed.

    Returns:
        The shares of synthesis (generator updates, new inputs, the teacher's answers) and of
        student updates, of which there are none in warm-up; they sum to 1.
    """
    recipe, synthesizer = distiller.recipe, distiller.synthesizer

    timed = min(recipe.updates_per_step(), _TIMED_UPDATES)

    def updates(images, logits):
        for _ in range(timed):
            distiller._student_update(images, logits, None, new=False)

    # Making a batch by inversion takes long enough to be timed once.
    repeats = 1 if distiller.inversion is not None else repeats
    with distiller.undisturbed():
        inputs = ops.convert_to_tensor(distiller.synthesize(recipe.batch_size))
        seconds = [
            median_seconds(
                tf.function(half, autograph=False, jit_compile=distiller.jit_compile), args, repeats
            )
            for half, args in (
                (lambda: _synthesis(distiller), ()),
                (updates, (inputs, synthesizer.ask_teacher(inputs))),
            )
        ]
    seconds[1] *= _taught(distiller) * recipe.updates_per_step() / timed
    return seconds[0] / sum(seconds), seconds[1] / sum(seconds)


def _taught(distiller):
    """The share of the steps taken in which the student learned; 1 before the first."""
    before, after = distiller._steps_taken_over, int(distiller.steps_done.numpy())
    warmed_up = max(0, min(after, distiller.recipe.warmup_steps) - before)
    return 1 - warmed_up / (after - before) if after > before else 1.0


def _synthesis(distiller):
    """All of a step but the student's updates; returns what was made, so that none of it is left out."""
    recipe, adversary = distiller.recipe, ops.ones(())
    if distiller.inversion is not None:
        return [distiller._invert(adversary) for _ in range(recipe.inversions)]
    generated = distiller._update_generator_first(adversary) if recipe.updates_generator_first else None
    batches = 1 if recipe.same_latent else recipe.student_steps
    made = [distiller.synthesizer.new_inputs(generated) for _ in range(batches)]
    if distiller.generator is not None and not recipe.updates_generator_first:
        distiller._update_generator_last(adversary)
    return made


def median_seconds(function: Callable, args: tuple, repeats: int) -> float:
    """Median time of a call, after one to warm up."""
    function(*args)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*args)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
