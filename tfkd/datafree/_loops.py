"""Doing something several times within a step."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

# Up to here what a step repeats is written out, which runs a little faster on small networks. Beyond it is
# a loop, whose graph is made and optimized once: half of the wait for the first step of large networks.
_WRITTEN_OUT = 10
_WRITTEN_OUT_WEIGHTS = 200


def repeat(times: int, function: Callable[[], None], networks: Sequence[keras.Model] = ()) -> None:
    """Calls a function so many times, in a loop of the graph where they are many or networks large.

    Args:
        times: how often.
        function: what to call.
        networks: what it runs or updates.
    """

    def call(nothing):
        function()
        return nothing

    iterated(times, call, (), networks)


def iterated(times: int, function: Callable, value: Any, networks: Sequence[keras.Model] = ()) -> Any:
    """What a function makes of a value when it is applied so many times; a loop as in `repeat`.

    Args:
        times: how often.
        function: from the value to the next one, tensors of the same shapes.
        value: tensors in any structure.
        networks: what the function runs or updates.
    """
    weights = times * sum(len(network.weights) for network in networks)
    few = times == 1 or (times <= _WRITTEN_OUT and weights <= _WRITTEN_OUT_WEIGHTS)
    if few or written_out():
        for _ in range(times):
            value = function(value)
        return value
    return looped(times, lambda _, value: function(value), value)


def written_out() -> bool:
    """Whether what is repeated is written out here: where nothing is traced, and under a strategy."""
    # Replicas of `tf.distribute` cannot meet within a loop, as they do to update a network together.
    return tf.executing_eagerly() or tf.distribute.has_strategy()


def looped(times: int, function: Callable, value: Any) -> Any:
    """What a function makes of a value in so many rounds of a loop of the graph.

    Args:
        times: how many rounds.
        function: from the number of the round and the value to the next one, tensors of the same shapes.
        value: tensors in any structure.
    """
    _, value = tf.while_loop(
        lambda i, _: i < times,
        lambda i, value: (i + 1, function(i, value)),
        (0, value),
        parallel_iterations=1,
        maximum_iterations=times,
    )
    return value
