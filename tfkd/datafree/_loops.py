"""Doing something several times within a step."""

from collections.abc import Callable, Sequence

import tensorflow as tf
from keras import tree

# Up to here what a step repeats is written out, which runs a little faster; from here on it is a loop.
_WRITTEN_OUT = 10


def repeat(times: int, function: Callable[[], None]) -> None:
    """Calls a function so many times, in a loop of the graph where they are many."""
    if times <= _WRITTEN_OUT or tf.executing_eagerly():
        for _ in range(times):
            function()
        return

    def body(i):
        function()
        return (i + 1,)

    tf.while_loop(lambda i: i < times, body, (0,), parallel_iterations=1, maximum_iterations=times)


def run_sequentially(function: Callable, parts: Sequence[tuple]) -> list:
    """Calls a function for each part of a batch; in a graph, too, a part waits for the one before it.

    Memory then holds one part at a time.

    Args:
        function: takes the items of a part, returns tensors in any structure.
        parts: what to call it with.

    Returns:
        What it returned, in order.
    """
    done = []
    for part in parts:
        before = [value for value in tree.flatten(done[-1:]) if value is not None]
        with tf.control_dependencies(before):
            done.append(function(*part))
    return done
