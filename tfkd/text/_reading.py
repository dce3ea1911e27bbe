"""Inputs of text models, and applying a backbone's layers to them."""

from typing import Any

import keras
from keras import layers, ops

from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import run_through_graph
from tfkd._core.token_marks import tokenizer_of, tokens_layer

SEQUENCE = "sequence_output"


def text_inputs(pairs: bool = False) -> dict[str, Any]:
    """Inputs `(B, T)` by the names used in all text models."""
    names = ("token_ids", "padding_mask", *(("segment_ids",) if pairs else ()))
    return {name: keras.Input((None,), dtype="int32", name=name) for name in names}


def apply_backbone(backbone: keras.Model, inputs: dict[str, Any], argument: str = "backbone"):
    """The hidden states `(B, T, D)` of the last block.

    The backbone's layers become layers of the new model: unlike a nested model, parts needed only for other
    outputs are dropped, and files store each layer's options. Weights stay shared.

    Args:
        backbone: a keras-hub backbone, or a functional model with such inputs.
        inputs: from `text_inputs`; a backbone that takes segments gets zeros if they are missing.
        argument: name of the argument with the backbone, for messages.

    Raises:
        ValueError: if the backbone has other inputs or outputs; the message names them.
    """
    _check_backbone(backbone, argument)
    ids = tokens_layer(tokenizer_of(backbone))(inputs["token_ids"])
    given = {**inputs, "token_ids": ids}
    names = [tensor.name for tensor in backbone.inputs]
    if "segment_ids" in names and "segment_ids" not in given:
        given["segment_ids"] = ops.zeros_like(ids)
    if "segment_ids" in given and "segment_ids" not in names:
        raise ValueError(
            f"`pairs`: {backbone.name!r} ({type(backbone).__name__}) has no `segment_ids`. Join the "
            "sentences of a pair in `token_ids` and leave `pairs` False."
        )
    if can_be_taken_apart(backbone):
        outputs = run_through_graph(backbone, [given[name] for name in names], _taken_apart)
    else:
        outputs = backbone({name: given[name] for name in names})
    return outputs[SEQUENCE] if isinstance(outputs, dict) else outputs


def can_be_taken_apart(backbone: keras.Model) -> bool:
    """Whether files can store each layer of a backbone separately; they cannot for Llama."""
    try:
        for layer in backbone.layers:
            type(layer).from_config(layer.get_config())
    except (AttributeError, TypeError):
        return False
    return True


def token_embedding(backbone: keras.Model) -> keras.Layer:
    """The reversible layer that embeds a backbone's token ids.

    Raises:
        ValueError: if there is none, or it cannot be shared.
    """
    if not can_be_taken_apart(backbone):
        raise ValueError(
            f"`backbone`: layers of a {type(backbone).__name__} cannot be made from their configs, so "
            "files could not keep logits that share its token embeddings. Use keras-hub's own language "
            "model for it."
        )
    if (own := getattr(backbone, "token_embedding", None)) is not None:
        return own
    found = [layer for layer in backbone.layers if isinstance(layer, layers.ReversibleEmbedding)]
    if len(found) != 1:
        raise ValueError(
            f"`backbone`: {backbone.name!r} must embed its tokens with one "
            f"keras.layers.ReversibleEmbedding, whose weights its logits share. Received: {len(found)} "
            "of them."
        )
    return found[0]


def _check_backbone(backbone, argument):
    if not isinstance(backbone, keras.Model) or not has_graph(backbone):
        raise ValueError(
            f"`{argument}` must be a keras-hub backbone or a functional model. Received: "
            f"{getattr(backbone, 'name', backbone)!r} ({type(backbone).__name__})."
        )
    names = {tensor.name for tensor in backbone.inputs}
    if not {"token_ids"} <= names <= {"token_ids", "padding_mask", "segment_ids"}:
        raise ValueError(
            f"`{argument}` must take `token_ids`, `padding_mask` and optionally `segment_ids`, by these "
            f"names. Received: {backbone.name!r} with inputs {sorted(names)}."
        )
    output = backbone.output
    if isinstance(output, dict):
        output = output.get(SEQUENCE)
    if len(getattr(output, "shape", ())) != 3:
        raise ValueError(
            f"`{argument}` must return hidden states (batch, tokens, units), alone or as {SEQUENCE!r} in a "
            f"dictionary. Received: {backbone.name!r}, which returns {backbone.output_shape}."
        )


def _taken_apart(operation):
    """Splits a token-and-position embedding in two, so that logits can share the token part."""
    if type(operation).__name__ != "TokenAndPositionEmbedding":
        return operation

    def embedded(ids):
        tokens = operation.token_embedding(ids)
        positions = operation.position_embedding(tokens)
        add = layers.Add(name="embeddings_add", dtype=operation.dtype_policy)
        return add((tokens, positions))

    return embedded
