"""Measures where the time of a data-free run is spent."""

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfkd._core.asking import answers
from tfkd.datafree._distiller import DataFreeDistiller
from tfkd.datafree._loops import repeat
from tfkd.datafree.sources import Batch

# All student updates take the same time, so a few are enough.
_TIMED_UPDATES = 10
# Functions that take longer than this are timed once.
_LONG = 2.0


def time_shares(distiller: DataFreeDistiller, repeats: int = 5) -> tuple[float, float]:
    """The shares of synthesis and student updates in the time of the steps so far, measured now.

    Args:
        distiller: a compiled distiller; all its variables are restored afterwards, except that inversion
            may fill an empty memory.
        repeats: how often each of the two is timed, unless it takes seconds.

    Returns:
        The shares of synthesis (generator updates, new inputs, the teacher's outputs) and of student
        updates (none in the warm-up); they sum to 1.
    """
    all_updates = distiller.recipe.updates_per_step()
    timed = min(all_updates, _TIMED_UPDATES)

    def updates(images):
        repeat(timed, lambda: distiller.update_student(Batch(images, logits)), [distiller.student])

    def compiled(half):
        return tf.function(half, autograph=False, jit_compile=distiller.jit_compile)

    with distiller.preserving_state():
        images = tf.convert_to_tensor(distiller.made(distiller.recipe.batch_size))
        logits = tf.cast(answers(distiller.teacher, distiller.input_form.given(images)), "float32")
        synthesis = median_seconds(compiled(distiller.images_of_a_step), (), repeats)
        student = median_seconds(compiled(updates), (images,), repeats)
    student *= distiller.share_taught() * all_updates / timed
    return synthesis / (synthesis + student), student / (synthesis + student)


def median_seconds(function: Callable, args: tuple, repeats: int) -> float:
    """The median time of a call, after a warm-up call; fewer than `repeats` calls if they take long."""
    function(*args)
    seconds = []
    while len(seconds) < repeats and sum(seconds) < _LONG:
        start = time.perf_counter()
        function(*args)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
