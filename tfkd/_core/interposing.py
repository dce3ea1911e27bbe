"""Puts code around the methods of single layers, for a while and for one thread."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

_lock = threading.RLock()
_thread = threading.local()
# How many, in all threads, are around each method: by the layer's id and the method's name.
_replaced: dict[tuple[int, str], int] = {}


@contextlib.contextmanager
def around(layer, method: str, do: Callable) -> Iterator[None]:
    """Sends this thread's calls of a layer's method through `do(call, *args, **kwargs)`.

    Those that are put around the same method nest, the last one outermost. The layer is as it was when
    the last one has gone, even after an error.

    Args:
        layer: a layer of Keras or tf_keras.
        method: a method's name.
        do: gets what to call in place of the method, and the arguments; returns what the method should.
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
    """Has functions stand for this thread's calls of some layers.

    Args:
        *visits: layers, and what gets each of them, what to call in its place, and the arguments; later
            ones are around earlier ones.
    """
    with contextlib.ExitStack() as stack:
        for visited, visit in visits:
            for layer in visited:
                stack.enter_context(around(layer, "call", functools.partial(visit, layer)))
        yield


def _replace(layer, method):
    """Replaces the method once, however many threads have something around it."""
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

        # Past Keras's own `__setattr__`, which looks for layers and variables in everything.
        object.__setattr__(layer, method, through_all)


def _restore(layer, method):
    key = id(layer), method
    with _lock:
        _replaced[key] -= 1
        if not _replaced[key]:
            del _replaced[key]
            object.__delattr__(layer, method)
