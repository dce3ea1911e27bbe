"""Where the time of a data-free run goes."""

import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfkd._core.asking import answers
from tfkd.datafree._distiller import DataFreeDistiller
from tfkd.datafree._loops import repeat
from tfkd.datafree.sources import Batch

# Student updates are alike, so a few of them stand for all.
_TIMED_UPDATES = 10
# What takes longer than this is timed once.
_LONG = 2.0


def time_shares(distiller: DataFreeDistiller, repeats: int = 5) -> tuple[float, float]:
    """How the time of the steps taken divides, measured now on a few of a step's halves.

    Args:
        distiller: a compiled distiller; all its variables are put back afterwards, but for an empty memory
            that inversion fills.
        repeats: how often each half is timed, if it does not take seconds.

    Returns:
        The shares of synthesis (generator updates, new inputs, the teacher's answers) and of
        student updates, of which there are none in warm-up; they sum to 1.
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
    """Median time of a call, after one to warm up; of fewer than `repeats` where they take long."""
    function(*args)
    seconds = []
    while len(seconds) < repeats and sum(seconds) < _LONG:
        start = time.perf_counter()
        function(*args)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))
