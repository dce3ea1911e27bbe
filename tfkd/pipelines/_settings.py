"""The settings of a run, in a form that can be stored and compared."""

import dataclasses
import hashlib
import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd.datafree import Recipe
from tfkd.losses import KnowledgeLoss
from tfkd.pipelines._automatic import AutomaticRecipe
from tfkd.searching import Budget
from tfkd.text import TextRecipe, Tokenizer

# These say where results go and how verbose the run is, not what the results are.
_PASSING = frozenset({"folder", "resume", "overwrite", "verbose", "flags", "command"})


class Request:
    """The request for a run.

    Args:
        pipeline: the function that is called.
        arguments: its arguments by name, including `flags` and `command`.

    Attributes:
        settings: what defines the run, JSON-compatible: flags, or arguments. Networks are represented by
            their names, arrays and tokenizers by a digest.
        records: entries for the metrics: "pipeline", "flags" and "command", which repeats the run.
    """

    def __init__(self, pipeline: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        flags = dict(arguments["flags"] or {})
        self.settings: dict[str, Any] = flags or {
            name: _plain(value) for name, value in arguments.items() if name not in _PASSING
        }
        self.records = {
            "pipeline": pipeline.__name__,
            "flags": flags,
            "command": arguments["command"] or _call(pipeline, arguments),
        }


def _call(pipeline, arguments):
    """The call in Python, without default arguments."""
    defaults = {name: each.default for name, each in inspect.signature(pipeline).parameters.items()}
    dropped = _PASSING - {"folder"}
    given = [
        f"{name}={_written(value)}"
        for name, value in arguments.items()
        if name not in dropped and not _same(value, defaults[name])
    ]
    return f"tfkd.pipelines.{pipeline.__name__}({', '.join(given)})"


def _same(value, default):
    # For arrays, == does not give a single bool.
    return value is default or (isinstance(value, str | int | float) and value == default)


def _written(value):
    """A value as Python code; in angle brackets if it must be given as an object."""
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    if value is None or isinstance(value, str | bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name!r}: {_written(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_written, value)) + "]"
    kind = type(value).__name__
    if dataclasses.is_dataclass(value):
        fields = [
            (each.name, getattr(value, each.name), _default(each)) for each in dataclasses.fields(value)
        ]
        changed = [f"{name}={_written(own)}" for name, own, usual in fields if _plain(own) != _plain(usual)]
        return f"{kind}({', '.join(changed)})"
    return f"<{kind} {value.name}>" if isinstance(value, keras.Model) else f"<{kind}>"


def _default(field):
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value):
    if isinstance(value, keras.Model):
        return value.name
    if isinstance(value, Tokenizer):
        return value.fingerprint
    if isinstance(value, Recipe):
        return _plain(value.describe())
    if isinstance(value, TextRecipe):
        return [type(value).__name__, _plain(dataclasses.asdict(value))]
    if isinstance(value, (AutomaticRecipe, Budget)):
        return dataclasses.asdict(value)
    if isinstance(value, KnowledgeLoss):
        return [type(value).__name__, _plain(value.get_config())]
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
        return f"{value.dtype} {value.shape} {digest}"
    if isinstance(value, tf.distribute.Strategy):
        return f"{type(value).__name__} of {value.num_replicas_in_sync} replicas"
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value


def teller(verbose: int) -> Callable[[str], None]:
    """A function that prints lines of progress, or does nothing."""
    return (lambda line: print(line, flush=True)) if verbose else (lambda line: None)
