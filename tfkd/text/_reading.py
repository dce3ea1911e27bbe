"""What models of text begin with: named inputs, and a backbone's layers applied to them."""

from typing import Any

import keras
from keras import layers, ops

from tfkd._core.graphs import has_graph
from tfkd._core.keras_internals import run_through_graph
from tfkd._core.token_marks import tokenizer_of, tokens_layer

SEQUENCE = "sequence_output"


def text_inputs(pairs: bool = False) -> dict[str, Any]:
    """Inputs `(B, T)` by the names that all models of text have for them."""
    names = ("token_ids", "padding_mask", *(("segment_ids",) if pairs else ()))
    return {name: keras.Input((None,), dtype="int32", name=name) for name in names}


def apply_backbone(backbone: keras.Model, inputs: dict[str, Any], argument: str = "backbone"):
    """The hidden states `(B, T, D)` of the last block.

    The backbone's layers become layers of the model that is being built: unlike with a nested model, what
    only other outputs need is left out, and files keep each layer's own options. Weights stay shared.

    Args:
        backbone: of keras-hub, or a functional model of such inputs.
        inputs: of `text_inputs`; a backbone that reads segments gets zeros where they are missing.
        argument: what gave the backbone, for messages.

    Raises:
        ValueError: if the backbone reads or returns something else; says what.
    """
    _check_backbone(backbone, argument)
    ids = tokens_layer(tokenizer_of(backbone))(inputs["token_ids"])
    given = {**inputs, "token_ids": ids}
    names = [tensor.name for tensor in backbone.inputs]
    if "segment_ids" in names and "segment_ids" not in given:
        given["segment_ids"] = ops.zeros_like(ids)
    if "segment_ids" in given and "segment_ids" not in names:
        raise ValueError(
            f"`pairs`: {backbone.name!r} ({type(backbone).__name__}) reads no `segment_ids`. Join the "
            "sentences of a pair in `token_ids` and leave `pairs` False."
        )
    if can_be_taken_apart(backbone):
        outputs = run_through_graph(backbone, [given[name] for name in names], _taken_apart)
    else:
        outputs = backbone({name: given[name] for name in names})
    return outputs[SEQUENCE] if isinstance(outputs, dict) else outputs


def can_be_taken_apart(backbone: keras.Model) -> bool:
    """Whether files can hold each layer of a backbone for itself, as they cannot those of Llama."""
    try:
        for layer in backbone.layers:
            type(layer).from_config(layer.get_config())
    except (AttributeError, TypeError):
        return False
    return True


def token_embedding(backbone: keras.Model) -> keras.Layer:
    """The layer that embeds a backbone's token ids, which can be applied in reverse.

    Raises:
        ValueError: if there is none, or it could not be shared.
    """
    if not can_be_taken_apart(backbone):
        raise ValueError(
            f"`backbone`: layers of a {type(backbone).__name__} cannot be made from their "
            "configurations, so that files would not keep logits that share its token embeddings. Use "
            "its language model of keras-hub."
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
            f"`{argument}` must be a backbone of keras-hub or a functional model. Received: "
            f"{getattr(backbone, 'name', backbone)!r} ({type(backbone).__name__})."
        )
    names = {tensor.name for tensor in backbone.inputs}
    if not {"token_ids"} <= names <= {"token_ids", "padding_mask", "segment_ids"}:
        raise ValueError(
            f"`{argument}` must read `token_ids`, `padding_mask` and perhaps `segment_ids`, by these "
            f"names. Received: {backbone.name!r} with inputs {sorted(names)}."
        )
    output = backbone.output
    if isinstance(output, dict):
        output = output.get(SEQUENCE)
    if len(getattr(output, "shape", ())) != 3:
        raise ValueError(
            f"`{argument}` must return hidden states (batch, tokens, units), alone or as {SEQUENCE!r} of a "
            f"dictionary. Received: {backbone.name!r}, which returns {backbone.output_shape}."
        )


def _taken_apart(operation):
    """Token and position embeddings of one layer become two, so that logits can share those of tokens."""
    if type(operation).__name__ != "TokenAndPositionEmbedding":
        return operation

    def embedded(ids):
        tokens = operation.token_embedding(ids)
        positions = operation.position_embedding(tokens)
        add = layers.Add(name="embeddings_add", dtype=operation.dtype_policy)
        return add((tokens, positions))

    return embedded
