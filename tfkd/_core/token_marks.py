"""Records which tokenizer a model's token ids come from, so that the model's files keep it."""

import keras

from tfkd._core.graphs import has_graph, nodes

# A layer of this name plus the tokenizer's fingerprint identifies the tokenizer in files.
_MARK = "tokens_of_"
_ATTRIBUTE = "tfkd_tokenizer"


def mark_tokenizer(model: keras.Model, fingerprint: str | None) -> keras.Model:
    """Makes `tokenizer_of` return a fingerprint while the model is in memory; returns the model."""
    setattr(model, _ATTRIBUTE, fingerprint)
    return model


def tokens_layer(fingerprint: str | None) -> keras.Layer:
    """An identity layer for token ids, whose name identifies their tokenizer in files."""
    return keras.layers.Identity(name=f"{_MARK}{fingerprint}" if fingerprint else "tokens", dtype="int32")


def tokenizer_of(model: keras.Model) -> str | None:
    """The fingerprint of the tokenizer whose token ids a model reads.

    Args:
        model: a model that tfkd has loaded or built, or that was loaded from a file of such a model.

    Returns:
        The `tfkd.text.Tokenizer.fingerprint` of its tokenizer; None if it is not known.

    Example:
        >>> backbone, tokenizer = tfkd.text.load("all-MiniLM-L6-v2")
        >>> tfkd.text.tokenizer_of(backbone) == tokenizer.fingerprint
        True
    """
    if (known := getattr(model, _ATTRIBUTE, None)) is not None:
        return known
    if not has_graph(model):
        return None
    for node in nodes(model):
        operation = node.operation
        if operation.name.startswith(_MARK):
            return operation.name.removeprefix(_MARK)
        if isinstance(operation, keras.Model) and (inner := tokenizer_of(operation)) is not None:
            return inner
    return None
