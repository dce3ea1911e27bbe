"""Limits on the size of a file's contents."""

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tfkd._core.untrusted._messages import refusal

LIMIT_VARIABLE = "TFKD_SIZE_LIMIT"
_DEFAULT = 1.0
_GIB = 2**30
# Weights in half precision or 8 bits may be wider in memory than in a file.
_WIDER, _SPARE = 4, 2**20


def size_limit() -> int:
    """The size limit of a file's contents in bytes: 1 GiB, or `TFKD_SIZE_LIMIT` in the environment, in GiB.

    Raises:
        ValueError: if the variable is not a number above 0.
    """
    text = os.environ.get(LIMIT_VARIABLE, "") or str(_DEFAULT)
    try:
        gib = float(text)
    except ValueError:
        gib = math.nan
    if not gib > 0:
        raise ValueError(
            f"The environment variable {LIMIT_VARIABLE} must be a number of GiB above 0. Received: "
            f"{text!r}."
        )
    return int(min(gib, 2**20) * _GIB)


def check_size(what: str, size: int, contents: str = "it holds") -> None:
    """Raises ValueError if something is larger than the limit.

    Args:
        what: the argument and the file.
        size: the unpacked size in bytes.
        contents: what has this size, with its verb, such as "its tensors have".
    """
    if size > size_limit():
        raise refusal(
            what,
            f"is too large: {contents} {size / _GIB:.3g} GiB once unpacked, but the limit is "
            f"{size_limit() / _GIB:.3g} GiB.",
            "If you trust it and have the memory, set the environment variable "
            f"{LIMIT_VARIABLE}={math.ceil(size / _GIB) + 1}, in GiB.",
        )


@contextlib.contextmanager
def weights_within(what: str, stored: int) -> Iterator[None]:
    """Limits the weights created in the block to about what the file holds.

    A configuration could otherwise allocate any amount of memory for weights that are not in the file.

    Args:
        what: the argument and the file.
        stored: the size in bytes of the weights in the file.

    Raises:
        ValueError: before the weight that would exceed the limit is created.
    """
    allowed, made, graph = _WIDER * stored + _SPARE, 0, tf.Graph()

    def counted(make, **options):
        nonlocal made
        made += _size_of(options, graph)
        check_size(what, made, "its layers have weights of")
        if made > allowed:
            raise refusal(
                what,
                f"is damaged or not genuine: its layers have weights of {made / _GIB:.3g} GiB or more, but "
                f"it holds only {stored / _GIB:.3g} GiB.",
                "Save the model again.",
            )
        return make(**options)

    with tf.variable_creator_scope(counted):
        yield


def _size_of(options: dict[str, Any], graph: tf.Graph) -> int:
    """The size in bytes that a variable will have, without creating it."""
    shape, dtype = options.get("shape"), options.get("dtype")
    if shape is None:
        value: Any = options["initial_value"]
        with graph.as_default():
            # In a graph nothing is computed.
            made: Any = value() if callable(value) else value
            value = made if tf.is_tensor(made) else tf.convert_to_tensor(made)
        shape, dtype = value.shape, dtype or value.dtype
    return (tf.TensorShape(shape).num_elements() or 0) * tf.as_dtype(dtype or "float32").size
