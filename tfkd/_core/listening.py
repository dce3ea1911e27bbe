"""Listening to a method of a layer, without changing what it does."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

# Of a call: its arguments, its keywords and what it gave.
Heard = Callable[[tuple, dict, Any], None]

_lock = threading.RLock()
_thread = threading.local()
# How often a method is listened to, and what the layer itself had in its place.
_wrapped: dict[tuple[int, str], tuple[int, dict]] = {}


@contextlib.contextmanager
def listening(layer: Any, method: str, heard: Heard) -> Iterator[None]:
    """Tells `heard` of every call of a layer's method that this thread makes inside the `with` block.

    Args:
        layer: of Keras or tf_keras.
        method: the method's name.
        heard: called with the arguments, the keywords and the result, after each call.
    """
    listeners = _listeners(layer, method)
    _wrap(layer, method)
    listeners.append(heard)
    try:
        yield
    finally:
        listeners[:] = [each for each in listeners if each is not heard]
        _unwrap(layer, method)


def _listeners(layer, method) -> list[Heard]:
    """Who listens to this method in this thread."""
    if not hasattr(_thread, "listeners"):
        _thread.listeners = {}
    return _thread.listeners.setdefault((id(layer), method), [])


def _wrap(layer, method):
    """Puts a listening method into the layer once, however many threads listen."""
    with _lock:
        times, before = _wrapped.get((id(layer), method), (0, {}))
        if not times:
            before = {name: value for name, value in vars(layer).items() if name == method}
            object.__setattr__(layer, method, _heard_by_all(layer, method, getattr(layer, method)))
        _wrapped[id(layer), method] = times + 1, before


def _heard_by_all(layer, method, original):
    def listened_to(*args, **kwargs):
        result = original(*args, **kwargs)
        for heard in _listeners(layer, method):
            heard(args, kwargs, result)
        return result

    return listened_to


def _unwrap(layer, method):
    with _lock:
        times, before = _wrapped[id(layer), method]
        if times > 1:
            _wrapped[id(layer), method] = times - 1, before
            return
        del _wrapped[id(layer), method]
        if before:
            object.__setattr__(layer, method, before[method])
        else:
            object.__delattr__(layer, method)
