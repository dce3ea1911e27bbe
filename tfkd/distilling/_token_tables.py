"""Checks that teacher and student take the same token ids: vocabularies, lengths and tokenizers."""

import contextlib
import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd._core.graphs import has_graph
from tfkd._core.interposing import around
from tfkd._core.keras_internals import build_shapes, flatten_layers
from tfkd._core.named_inputs import named_inputs, taken_by
from tfkd._core.token_marks import tokenizer_of

_REMEDY = (
    "Build it with the teacher's vocabulary, as tfkd.students.from_layers does, and give both the ids of "
    "one tokenizer. If the student needs its own ids, give its input another name."
)

# The name for the single, nameless input of a model without a graph.
_ALONE = ""
# Errors that models raise for inputs that they cannot take.
_REFUSALS = ValueError, TypeError, NotImplementedError, tf.errors.InvalidArgumentError


class TokenTables(NamedTuple):
    """Information from a model's embedding layers about its token ids.

    Args:
        source: the name of the input with the ids; None if it is the only input.
        vocabulary: the number of different ids; None if no input of ids was found.
        longest: the number of positions; None if it is unlimited or unknown.
    """

    source: str | None
    vocabulary: int | None
    longest: int | None


def check_tokens(teacher: keras.Model, student: keras.Model) -> None:
    """Raises ValueError if a student cannot take its teacher's token ids.

    Args:
        teacher: the teacher.
        student: the student.

    Raises:
        ValueError: if vocabularies or tokenizers differ, or the student takes only shorter texts.
    """
    tokenizers = tokenizer_of(teacher), tokenizer_of(student)
    theirs, ours = token_tables(teacher), token_tables(student)
    if None not in tokenizers:
        # Tables for the same tokenizer may have unused rows.
        if tokenizers[0] != tokenizers[1]:
            _refuse(teacher, student, f"those of tokenizer {tokenizers[1]} instead of {tokenizers[0]}")
    elif _differ(theirs, ours):
        _refuse(teacher, student, f"{ours.vocabulary} different ids instead of {theirs.vocabulary}")
    if theirs.longest and ours.longest and ours.longest < theirs.longest:
        raise ValueError(
            f"`student` must take texts as long as `teacher` does. Received: {student.name!r} with "
            f"{ours.longest} positions, where {teacher.name!r} has {theirs.longest}. Build it with "
            f"{theirs.longest} (`max_sequence_length` in keras-hub networks), as "
            "tfkd.students.from_layers does; texts may be shorter."
        )


def token_tables(model: keras.Model) -> TokenTables:
    """Finds which embedding layers each integer input feeds, by a pass over distinguishable inputs."""
    tables = [layer for layer in flatten_layers(model) if isinstance(layer, keras.layers.Embedding)]
    inputs = _telling_inputs(model) if tables else {}
    vocabularies: dict[str, int] = {}
    longest = [layer.sequence_length for layer in flatten_layers(model) if _is_of_positions(layer)]
    for table, ids in _fed(model, tables, inputs):
        if np.array_equal(ids, np.arange(len(ids))):
            longest.append(table.input_dim)
        for name, values in inputs.items():
            if np.array_equal(ids, values[0]):
                vocabularies[name] = max(table.input_dim, vocabularies.get(name, 0))
    # The token table is the largest; others, such as the table of segments, have only a few rows.
    source = max(vocabularies, key=lambda name: vocabularies[name], default=None)
    vocabulary = None if source is None else vocabularies[source]
    return TokenTables(source if len(inputs) > 1 else None, vocabulary, min(longest, default=None))


def _differ(theirs, ours):
    """Whether two models take different numbers of ids from the same input."""
    if None in (theirs.vocabulary, ours.vocabulary) or theirs.vocabulary == ours.vocabulary:
        return False
    return None in (theirs.source, ours.source) or theirs.source == ours.source


def _telling_inputs(model) -> dict[str, np.ndarray]:
    """Inputs whose integer arrays can be told apart: each has a 1 at a different position."""
    known = _input_shapes(model)
    whole = [name for name, (shape, dtype) in known.items() if len(shape) == 2 and "int" in dtype]
    sizes = {known[name][0][1] for name in whole} - {None}
    # One position more than needed, so that position ids look different.
    length = min(sizes, default=len(whole) + 2)
    if not whole or length < len(whole) + 2:
        return {}
    values = {
        name: np.ones((1, *(size or length for size in shape[1:])), dtype)
        for name, (shape, dtype) in known.items()
    }
    for place, name in enumerate(whole):
        values[name][:] = 0
        values[name][:, place] = 1
    return values


def _input_shapes(model) -> dict[str, tuple[tuple, str]]:
    """The shapes and dtypes of the inputs by name, as far as they are known."""
    if has_graph(model):
        return {name: (tuple(x.shape), x.dtype) for name, x in (named_inputs(model) or {}).items()}
    known = list(build_shapes(model).values())
    if len(known) != 1:
        return {}
    shapes = dict(known[0]) if isinstance(known[0], dict) else {_ALONE: known[0]}
    if not all(isinstance(size, int | None) for shape in shapes.values() for size in shape):
        return {}
    # In a model with embedding layers, inputs with two axes are ids.
    dtypes = {name: "int32" if len(shape) == 2 else "float32" for name, shape in shapes.items()}
    return {name: (tuple(shape), dtypes[name]) for name, shape in shapes.items()}


def _fed(model, tables, inputs) -> list[tuple[keras.layers.Embedding, np.ndarray]]:
    """The embedding tables that a pass reads, and the integers that each gets for one example."""
    fed = []

    def note(table, call, ids, *args, **kwargs):
        if len(ids.shape) <= 2 and "int" in keras.backend.standardize_dtype(ids.dtype):
            fed.append((table, np.asarray(ids).reshape(-1)))
        return call(ids, *args, **kwargs)

    if not inputs:
        return fed
    values = {name: ops.convert_to_tensor(each) for name, each in inputs.items()}
    with contextlib.ExitStack() as stack:
        for table in tables:
            stack.enter_context(around(table, "call", functools.partial(note, table)))
        # Models that need other inputs, so that this trial fails, are not checked.
        stack.enter_context(contextlib.suppress(*_REFUSALS))
        model(values[_ALONE] if _ALONE in values else taken_by(model, values), training=False)
    return fed


def _is_of_positions(layer):
    # A class of keras-hub, which is not imported here.
    return type(layer).__name__ == "PositionEmbedding"


def _refuse(teacher, student, received):
    raise ValueError(
        f"`student` must take the token ids of `teacher`. Received: {student.name!r}, which takes "
        f"{received} as {teacher.name!r} does. {_REMEDY}"
    )
