"""What a run was asked for, in a form that can be written and compared."""

import dataclasses
import hashlib
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

# These say where results go and how much is said, not what they are.
_PASSING = frozenset({"folder", "resume", "overwrite", "verbose", "flags"})


def settings_of(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that make a run what it is, as JSON can hold them.

    Networks are known by their names, arrays and tokenizers by a digest.
    """
    return {name: _plain(value) for name, value in arguments.items() if name not in _PASSING}


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
    """What prints lines of progress, or does not."""
    return (lambda line: print(line, flush=True)) if verbose else (lambda line: None)
