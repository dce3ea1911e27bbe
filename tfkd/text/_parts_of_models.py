"""Where the layers of a model of texts are."""

import keras

from tfkd import taps
from tfkd._core.keras_internals import flatten_layers


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
