"""Counts the floating-point operations of a training step at run time, including loops and conditionals."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_callbacks


def count_operations(step: Callable[[], Any]) -> int:
    """Floating-point operations of the convolutions and matrix products of one step, run eagerly.

    A multiply-add counts as two operations; other operations are not counted. Eager execution computes
    gradients that a graph omits, such as those of a frozen teacher's kernels: results that are never read
    are not counted.

    Args:
        step: the step, which is called once; its traced graphs also run eagerly.

    Returns:
        The number of operations.
    """
    counted = 0
    # For tensors that have not been read yet: the tensor (so that its id is not reused) and its operations.
    unread = {}

    def note(kind, inputs, attrs, outputs, op_name=None, graph=None):
        nonlocal counted
        for tensor in inputs:
            counted += unread.pop(id(tensor), (None, 0))[1]
        flops = _COSTS.get(tf.compat.as_str(kind))
        if flops is not None:
            unread[id(outputs[0])] = outputs[0], flops(inputs, outputs[0])

    with _run_eagerly():
        op_callbacks.add_op_callback(note)
        try:
            step()
        finally:
            op_callbacks.remove_op_callback(note)
    return counted


@contextlib.contextmanager
def _run_eagerly() -> Iterator[None]:
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def _convolution(inputs, output):
    return 2 * math.prod(output.shape) * math.prod(inputs[1].shape[:3])


def _gradient_by_input(inputs, output):
    return 2 * math.prod(inputs[2].shape) * math.prod(inputs[1].shape[:3])


def _gradient_by_kernel(inputs, output):
    return 2 * math.prod(inputs[2].shape) * math.prod(output.shape[:3])


def _product(inputs, output):
    # m x k, k x n and m x n elements, even if some are transposed.
    elements = [math.prod(each.shape[-2:]) for each in (*inputs, output)]
    return 2 * math.isqrt(math.prod(elements)) * math.prod(output.shape[:-2])


_COSTS = {
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _gradient_by_input,
    "Conv2DBackpropFilter": _gradient_by_kernel,
    "MatMul": _product,
    "BatchMatMulV2": _product,
}
