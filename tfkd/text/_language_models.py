"""Masked and causal language models."""

import os
from typing import Any

import keras
from keras import layers

from tfkd.text._marking import marked
from tfkd.text._masked_head import give_masked_head
from tfkd.text._reading import apply_backbone, text_inputs, token_embedding


@keras.saving.register_keras_serializable(package="tfkd")
class TokenBias(keras.Layer):
    """Adds a trained bias to each token's logit.

    Call arguments:
        inputs: logits `(B, T, vocabulary)`.

    Example:
        >>> logits = tfkd.text.TokenBias()(embedding(hidden, reverse=True))
    """

    def build(self, input_shape) -> None:
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs):
        return inputs + self.bias

    def compute_output_shape(self, input_shape):
        return input_shape


def masked_language_model(
    backbone: keras.Model,
    folder: str | os.PathLike | None = None,
    name: str = "masked_language_model",
) -> keras.Model:
    """A model that predicts masked tokens, with BERT's head on a backbone.

    The head is a linear layer with GELU, a layer normalization, and the transposed token embeddings with a
    bias for each token.

    Args:
        backbone: a keras-hub backbone, or a functional model that embeds tokens with one
            `keras.layers.ReversibleEmbedding`. Its weights are shared with the model.
        folder: a Hugging Face folder whose checkpoint has the head of BERT, RoBERTa, DistilBERT or ALBERT;
            None for a new head.
        name: name of the model.

    Returns:
        A functional model with inputs `token_ids` and `padding_mask`, int32 `(B, T)`, that returns logits
        `(B, T, vocabulary)` in float32.

    Raises:
        ValueError: if the backbone is not suitable, or the folder has no such head.

    Example:
        >>> backbone, tokenizer = tfkd.text.load("bert-base-uncased")
        >>> model = tfkd.text.masked_language_model(backbone, "bert-base-uncased")

    Reference:
        Devlin et al., "BERT", 2019.
    """
    embedding: Any = token_embedding(backbone)
    inputs = text_inputs()
    x = apply_backbone(backbone, inputs)
    policy = backbone.dtype_policy
    activation, epsilon = _as_in_blocks(backbone)
    dense = layers.Dense(embedding.output_dim, activation, name="head_dense", dtype=policy)
    norm = layers.LayerNormalization(epsilon=epsilon, name="head_norm", dtype=policy)
    logits = TokenBias(name="logits", dtype="float32")
    x = logits(embedding(norm(dense(x)), reverse=True))
    if folder is not None:
        give_masked_head(folder, dense, norm, logits)
    return marked(inputs, x, "masked_language_model", name)


def _as_in_blocks(backbone):
    """The activation and normalization epsilon of a backbone's blocks, also used in its head."""
    blocks = [layer for layer in backbone.layers if hasattr(layer, "layer_norm_epsilon")]
    return (blocks[0].activation, blocks[0].layer_norm_epsilon) if blocks else ("gelu", 1e-12)


def causal_language_model(backbone: keras.Model, name: str = "causal_language_model") -> keras.Model:
    """A model that predicts the next token, with a backbone's transposed token embeddings.

    Args:
        backbone: a causal keras-hub backbone, such as GPT-2, or a functional model that embeds tokens with
            one `keras.layers.ReversibleEmbedding`. Its weights are shared with the model.
        name: name of the model.

    Returns:
        A functional model with inputs `token_ids` and `padding_mask`, int32 `(B, T)`, that returns logits
        `(B, T, vocabulary)` in float32; at position t, for the token at t + 1.

    Raises:
        ValueError: if the backbone is not suitable.

    Example:
        >>> model = tfkd.text.causal_language_model(tfkd.text.load("gpt2").backbone)

    Reference:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """
    embedding: Any = token_embedding(backbone)
    inputs = text_inputs()
    x = embedding(apply_backbone(backbone, inputs), reverse=True)
    return marked(inputs, x, "causal_language_model", name)
