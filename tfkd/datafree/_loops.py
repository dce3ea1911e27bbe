"""Repeats work within a step, unrolled or in a graph loop."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

# Up to these limits repetitions are unrolled, which is a little faster for small networks. Beyond them a
# loop is used, whose body is traced and optimized once; it halves the time to the first step of large
# networks.
_WRITTEN_OUT = 10
_WRITTEN_OUT_WEIGHTS = 200


def repeat(times: int, function: Callable[[], None], networks: Sequence[keras.Model] = ()) -> None:
    """Calls a function repeatedly, in a graph loop if there are many calls or large networks.

    Args:
        times: the number of calls.
        function: the function to call.
        networks: the networks that it runs or updates.
    """

    def call(nothing):
        function()
        return nothing

    iterated(times, call, (), networks)


def iterated(times: int, function: Callable, value: Any, networks: Sequence[keras.Model] = ()) -> Any:
    """Applies a function to a value repeatedly; uses a loop as `repeat` does.

    Args:
        times: the number of applications.
        function: a function from one value to the next, with tensors of the same shapes.
        value: the initial value, tensors in any structure.
        networks: the networks that the function runs or updates.
    """
    weights = times * sum(len(network.weights) for network in networks)
    few = times == 1 or (times <= _WRITTEN_OUT and weights <= _WRITTEN_OUT_WEIGHTS)
    if few or written_out():
        for _ in range(times):
            value = function(value)
        return value
    return looped(times, lambda _, value: function(value), value)


def written_out() -> bool:
    """Whether repetitions must be unrolled: in eager mode, and under a strategy."""
    # Replicas of `tf.distribute` cannot synchronize in a loop, as they must to update a network together.
    return tf.executing_eagerly() or tf.distribute.has_strategy()


def looped(times: int, function: Callable, value: Any) -> Any:
    """Applies a function to a value repeatedly in a graph loop.

    Args:
        times: the number of iterations.
        function: a function from the iteration's index and the value to the next value, with tensors of
            the same shapes.
        value: the initial value, tensors in any structure.
    """
    _, value = tf.while_loop(
        lambda i, _: i < times,
        lambda i, value: (i + 1, function(i, value)),
        (0, value),
        parallel_iterations=1,
        maximum_iterations=times,
    )
    return value
