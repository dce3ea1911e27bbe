"""Wraps methods of single layers, temporarily and for one thread."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

_lock = threading.RLock()
_thread = threading.local()
# The number of wrappers of each method in all threads, by the layer's id and the method's name.
_replaced: dict[tuple[int, str], int] = {}


@contextlib.contextmanager
def around(layer, method: str, do: Callable) -> Iterator[None]:
    """Sends this thread's calls of a layer's method through `do(call, *args, **kwargs)`.

    Wrappers of the same method nest, the last one outermost. When the last one is removed, even after an
    error, the layer is as it was before.

    Args:
        layer: a layer of Keras or tf_keras.
        method: the method's name.
        do: is called with the wrapped function and the method's arguments; returns the method's result.
    """
    key = id(layer), method
    if not hasattr(_thread, "around"):
        _thread.around = {}
    mine = _thread.around.setdefault(key, [])
    _replace(layer, method)
    mine.append(do)
    try:
        yield
    finally:
        mine.remove(do)
        if not mine:
            del _thread.around[key]
        _restore(layer, method)


@contextlib.contextmanager
def visiting(*visits: tuple[list, Callable[..., Any]]) -> Iterator[None]:
    """Sends this thread's calls of some layers through functions.

    Args:
        *visits: pairs of layers and a function `visit(layer, call, *args, **kwargs)`; later ones wrap
            earlier ones.
    """
    with contextlib.ExitStack() as stack:
        for visited, visit in visits:
            for layer in visited:
                stack.enter_context(around(layer, "call", functools.partial(visit, layer)))
        yield


def _replace(layer, method):
    """Replaces the method once, however many threads wrap it."""
    key = id(layer), method
    with _lock:
        _replaced[key] = _replaced.get(key, 0) + 1
        if _replaced[key] > 1:
            return
        original = getattr(layer, method)

        def through_all(*args, **kwargs):
            call = original
            for do in getattr(_thread, "around", {}).get(key, ()):
                call = functools.partial(do, call)
            return call(*args, **kwargs)

        # Bypasses Keras's own `__setattr__`, which tracks layers and variables.
        object.__setattr__(layer, method, through_all)


def _restore(layer, method):
    key = id(layer), method
    with _lock:
        _replaced[key] -= 1
        if not _replaced[key]:
            del _replaced[key]
            object.__delattr__(layer, method)
