"""Sentence encoders: vectors whose cosine measures similarity."""

import keras
from keras import layers

from tfkd._core.checks import check_choice, check_int
from tfkd.text._marking import marked
from tfkd.text._pooling import POOLINGS, TokenPooling
from tfkd.text._reading import apply_backbone, text_inputs


def sentence_encoder(
    backbone: keras.Model,
    pooling: str = "mean",
    normalize: bool = True,
    units: int | None = None,
    name: str = "sentence_encoder",
) -> keras.Model:
    """A sentence encoder on a backbone, with pooling and normalization.

    Args:
        backbone: a keras-hub backbone, or a functional model that reads `token_ids` and `padding_mask` and
            returns hidden states `(B, T, D)`. Its weights are shared with the encoder.
        pooling: "mean" for the mean over real tokens, "first" for the first token.
        normalize: whether embeddings have length 1, so that dot products are cosine similarities.
        units: size of the embeddings, such as a teacher's, from a linear layer `projection` after the
            pooling; None for the backbone's own size without that layer.
        name: name of the model.

    Returns:
        A functional model with inputs `token_ids` and `padding_mask`, int32 `(B, T)`, that returns
        embeddings `(B, units)` in float32.

    Raises:
        ValueError: if an argument is out of range or the backbone is not suitable.

    Example:
        >>> backbone, tokenizer = tfkd.text.load("all-MiniLM-L6-v2")
        >>> encoder = tfkd.text.sentence_encoder(backbone)
        >>> encoder.predict(tokenizer(["a film", "a movie"])).shape
        (2, 384)

    Reference:
        Reimers and Gurevych, "Sentence-BERT", 2019.
    """
    check_choice("pooling", pooling, POOLINGS)
    inputs = text_inputs()
    x = apply_backbone(backbone, inputs)
    x = TokenPooling(pooling, name="pooling", dtype=backbone.dtype_policy)(x, inputs["padding_mask"])
    if units is not None:
        x = layers.Dense(check_int("units", units), name="projection", dtype=backbone.dtype_policy)(x)
    if normalize:
        x = layers.UnitNormalization(name="normalization", dtype="float32")(x)
    return marked(inputs, x, "sentence_embedding", name)
