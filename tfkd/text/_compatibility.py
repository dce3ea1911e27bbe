"""Whether a teacher and a student of text fit together, and where their layers are."""

import keras

from tfkd import taps
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.token_marks import tokenizer_of


def check_vocabularies(teacher: keras.Model, student: keras.Model) -> None:
    """Raises ValueError if the two read token ids of different vocabularies."""
    known = tokenizer_of(teacher), tokenizer_of(student)
    tables = token_embedding(teacher), token_embedding(student)
    sizes = [None if table is None else table.input_dim for table in tables]
    if (None not in known and known[0] != known[1]) or (None not in sizes and sizes[0] != sizes[1]):
        raise ValueError(
            f"`student` {student.name!r} reads token ids of another vocabulary than `teacher` "
            f"{teacher.name!r}: {sizes[1]} tokens, tokenizer {known[1]}, instead of {sizes[0]}, tokenizer "
            f"{known[0]}. Build it with the teacher's vocabulary, as tfkd.students.from_layers and the "
            "recipes do, or load both with one tokenizer."
        )


def token_embedding(model: keras.Model) -> keras.layers.Embedding | None:
    """The table of a model's tokens: the longest there is; None without any."""
    tables = [layer for layer in flatten_layers(model) if isinstance(layer, keras.layers.Embedding)]
    return max(tables, key=lambda table: table.input_dim, default=None)


def layers_of(model: keras.Model, argument: str) -> taps.TransformerTaps:
    """The taps of a transformer's layers.

    Args:
        model: the model.
        argument: what messages call it.

    Raises:
        ValueError: if it is not a transformer.
    """
    try:
        return taps.transformer(model)
    except ValueError as error:
        raise ValueError(f"`{argument}` must be a transformer. {error}") from error


def width_at(model: keras.Model, tap: str) -> int:
    """How many numbers a token, or an example, has at a tap."""
    return taps.shape(model, tap)[-1]
