"""Whether teacher and student read the same token ids: vocabularies, lengths and tokenizers."""

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
    "one tokenizer; where a student has to read ids of its own, give these an input of another name."
)

# Where a model without a graph has one input, which has no name.
_ALONE = ""
# What a model raises for inputs that it cannot take.
_REFUSALS = ValueError, TypeError, NotImplementedError, tf.errors.InvalidArgumentError


class TokenTables(NamedTuple):
    """What the embedding layers of a model say of the token ids that it reads.

    Args:
        source: name of the input that the ids come from; None if that is the only input.
        vocabulary: how many ids there are; None if no input of ids was found.
        longest: how many positions there are; None where that is not limited, or not known.
    """

    source: str | None
    vocabulary: int | None
    longest: int | None


def check_tokens(teacher: keras.Model, student: keras.Model) -> None:
    """Refuses a student that cannot read what its teacher reads.

    Args:
        teacher: the teacher.
        student: the student.

    Raises:
        ValueError: for other vocabularies or tokenizers, or a student of shorter texts.
    """
    tokenizers = tokenizer_of(teacher), tokenizer_of(student)
    theirs, ours = token_tables(teacher), token_tables(student)
    if None not in tokenizers:
        # Tables of one tokenizer may have rows to spare.
        if tokenizers[0] != tokenizers[1]:
            _refuse(teacher, student, f"those of tokenizer {tokenizers[1]} instead of {tokenizers[0]}")
    elif _differ(theirs, ours):
        _refuse(teacher, student, f"{ours.vocabulary} different ids instead of the {theirs.vocabulary}")
    if theirs.longest and ours.longest and ours.longest < theirs.longest:
        raise ValueError(
            f"`student` must read texts as long as `teacher` does. Received: {student.name!r} with places "
            f"for {ours.longest} tokens, where {teacher.name!r} has {theirs.longest}. Build it with "
            f"{theirs.longest} (`max_sequence_length` of keras-hub's networks), as "
            "tfkd.students.from_layers does; texts may be shorter."
        )


def token_tables(model: keras.Model) -> TokenTables:
    """Finds which embedding layers an input of whole numbers feeds, by a pass over inputs that tell."""
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
    # Others, such as those of segments, have next to nothing, of which some may never come up.
    source = max(vocabularies, key=lambda name: vocabularies[name], default=None)
    vocabulary = None if source is None else vocabularies[source]
    return TokenTables(source if len(inputs) > 1 else None, vocabulary, min(longest, default=None))


def _differ(theirs, ours):
    """Whether two models read different numbers of ids from one input."""
    if None in (theirs.vocabulary, ours.vocabulary) or theirs.vocabulary == ours.vocabulary:
        return False
    return None in (theirs.source, ours.source) or theirs.source == ours.source


def _telling_inputs(model) -> dict[str, np.ndarray]:
    """Inputs of which those of whole numbers differ from each other: each has a 1 at a place of its own."""
    known = _input_shapes(model)
    whole = [name for name, (shape, dtype) in known.items() if len(shape) == 2 and "int" in dtype]
    sizes = {known[name][0][1] for name in whole} - {None}
    # One place more than needed, so that positions look different.
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
    """Shapes and types of the inputs by name, as far as they are known."""
    if has_graph(model):
        return {name: (tuple(x.shape), x.dtype) for name, x in (named_inputs(model) or {}).items()}
    known = list(build_shapes(model).values())
    if len(known) != 1:
        return {}
    shapes = dict(known[0]) if isinstance(known[0], dict) else {_ALONE: known[0]}
    if not all(isinstance(size, int | None) for shape in shapes.values() for size in shape):
        return {}
    # What has two axes in a model with embedding layers is ids.
    dtypes = {name: "int32" if len(shape) == 2 else "float32" for name, shape in shapes.items()}
    return {name: (tuple(shape), dtypes[name]) for name, shape in shapes.items()}


def _fed(model, tables, inputs) -> list[tuple[keras.layers.Embedding, np.ndarray]]:
    """The tables that a pass reads, and the whole numbers that they are fed of one example."""
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
        # What cannot be tried like this, because of what it needs besides, is not looked into.
        stack.enter_context(contextlib.suppress(*_REFUSALS))
        model(values[_ALONE] if _ALONE in values else taken_by(model, values), training=False)
    return fed


def _is_of_positions(layer):
    # keras-hub's, which is not imported here.
    return type(layer).__name__ == "PositionEmbedding"


def _refuse(teacher, student, received):
    raise ValueError(
        f"`student` must read the token ids of `teacher`. Received: {student.name!r}, which reads "
        f"{received} that {teacher.name!r} reads. {_REMEDY}"
    )
