"""Parts of a batch one after the other, so that memory holds one at a time."""

from collections.abc import Callable, Sequence

import tensorflow as tf
from keras import tree


def in_turn(function: Callable, parts: Sequence[tuple]) -> list:
    """Calls a function for each part; in a graph, too, a part waits for the one before it.

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
