"""Finding the layers of text models."""

import keras

from tfkd import taps
from tfkd._core.keras_internals import flatten_layers


def token_embedding(model: keras.Model) -> keras.layers.Embedding | None:
    """A model's token embedding: its largest embedding table; None without any."""
    tables = [layer for layer in flatten_layers(model) if isinstance(layer, keras.layers.Embedding)]
    return max(tables, key=lambda table: table.input_dim, default=None)


def layers_of(model: keras.Model, argument: str) -> taps.TransformerTaps:
    """The taps of a transformer's layers.

    Args:
        model: the model.
        argument: name of the argument, for messages.

    Raises:
        ValueError: if it is not a transformer.
    """
    try:
        return taps.transformer(model)
    except ValueError as error:
        raise ValueError(f"`{argument}` must be a transformer. {error}") from error


def width_at(model: keras.Model, tap: str) -> int:
    """The width of a tap: numbers per token, or per example."""
    return taps.shape(model, tap)[-1]
