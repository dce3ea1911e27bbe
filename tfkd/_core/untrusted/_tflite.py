"""Checks a TFLite file before its memory is allocated."""

import math

import numpy as np

from tfkd._core.untrusted._limits import check_size
from tfkd._core.untrusted._messages import refusal


def check_tflite(content: bytes, what: str) -> None:
    """Rejects a TFLite file that is damaged, or whose tensors are too large.

    Args:
        content: the file's bytes.
        what: the argument and the file, for the message.

    Raises:
        ImportError: if `ai_edge_litert` is not installed.
        ValueError: if it is damaged or too large.
    """
    from ai_edge_litert.interpreter import Interpreter

    check_size(what, len(content))
    try:
        tensors = Interpreter(model_content=content).get_tensor_details()
        sizes = [_size_of(each) for each in tensors]
    except Exception as error:
        raise refusal(
            what, f"cannot be used as a TFLite file: {error}.", "Convert it again, or ask for a new copy."
        ) from error
    check_size(what, sum(sizes), "its tensors have")


def _size_of(tensor):
    # Unknown sizes are -1 in the signature, and 1 here.
    return math.prod(int(size) for size in tensor["shape"]) * np.dtype(tensor["dtype"]).itemsize
