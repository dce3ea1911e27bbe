"""Small transformers that tests of taps share: own ones, and those of keras-hub."""

import keras
import numpy as np
from keras import layers, ops

VOCABULARY, LENGTHS = 20, (6, 4)
TOKEN_IDS = np.random.default_rng(0).integers(1, VOCABULARY, (2, 6)).astype("int32")
PADDING_MASK = np.array([[1] * length + [0] * (6 - length) for length in LENGTHS], "int32")
TEXT = {"token_ids": TOKEN_IDS * PADDING_MASK, "padding_mask": PADDING_MASK}

_ENCODER = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 8,
    "intermediate_dim": 16,
    "max_sequence_length": 8,
}
_DECODER = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}
# By class in keras_hub.models, with what is asked of each: arguments, and whether scores are
# queries by keys over the root of their width.
BACKBONES = {
    "BertBackbone": (_ENCODER, True),
    "RobertaBackbone": (_ENCODER, True),
    "DistilBertBackbone": (_ENCODER | {"dropout": 0.0}, True),
    "AlbertBackbone": (_ENCODER | {"embedding_dim": 8}, True),
    "DebertaV3Backbone": (_ENCODER | {"bucket_size": 4}, False),
    "GPT2Backbone": (_ENCODER, True),
    "OPTBackbone": (_ENCODER, True),
    "LlamaBackbone": (_DECODER, True),
    "MistralBackbone": (_DECODER, True),
    "QwenBackbone": (_DECODER, True),
    "GemmaBackbone": (_DECODER | {"head_dim": 4}, True),
}


def backbone(name: str, **changed) -> tuple[keras.Model, dict]:
    """A small backbone of keras-hub, and text for it."""
    import keras_hub

    model = getattr(keras_hub.models, name)(**BACKBONES[name][0] | changed)
    text = dict(TEXT)
    if "segment_ids" in model.input:
        text["segment_ids"] = np.zeros_like(TOKEN_IDS)
    return model, text


def own(
    blocks: int = 2, normalizes_first: bool = True, operators: bool = False, classes: int = 3
) -> keras.Model:
    """A transformer of `MultiHeadAttention` layers in one graph, with the inputs of keras-hub's."""
    ids, padding = (keras.Input((None,), dtype="int32", name=name) for name in TEXT)
    x = layers.Embedding(VOCABULARY, 8, name="tokens")(ids)
    mask = ops.expand_dims(padding, 1)

    def joined(one, other, name):
        return one + other if operators else layers.Add(name=name)([one, other])

    def normalized(x, name, here):
        return layers.LayerNormalization(name=name)(x) if here else x

    for i in range(blocks):
        entering = normalized(x, f"norm{i}", normalizes_first)
        seen = layers.MultiHeadAttention(2, 4, name=f"attention{i}")(
            entering, entering, attention_mask=mask
        )
        x = normalized(joined(x, seen, f"seen{i}"), f"seen_norm{i}", not normalizes_first)
        entering = normalized(x, f"inner_norm{i}", normalizes_first)
        wide = layers.Dense(16, "gelu", name=f"wide{i}")(entering)
        thought = layers.Dense(8, name=f"narrow{i}")(wide)
        x = normalized(joined(x, thought, f"block{i}"), f"block_norm{i}", not normalizes_first)
    x = normalized(x, "last_norm", normalizes_first)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    return keras.Model([ids, padding], layers.Dense(classes, name="logits")(x), name="own")


class Block(layers.Layer):
    """Attention and two dense layers, not part of a graph themselves."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 4, name="attention")
        self.wide, self.narrow = layers.Dense(16, name="wide"), layers.Dense(8, name="narrow")

    def call(self, x):
        x = x + self.attention(x, x)
        return x + self.narrow(self.wide(x))


class Encoder(layers.Layer):
    """Blocks and a normalization."""

    def __init__(self, blocks: int, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(name=f"block{i}") for i in range(blocks)]
        self.norm = layers.LayerNormalization(name="norm")

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Subclassed(keras.Model):
    """A classifier of token ids without a graph."""

    def __init__(self, blocks: int = 2):
        super().__init__()
        self.embed = layers.Embedding(VOCABULARY, 8, name="embed")
        self.encoder = Encoder(blocks, name="encoder")
        self.logits = layers.Dense(3, name="logits")

    def call(self, ids):
        return self.logits(ops.mean(self.encoder(self.embed(ids)), axis=1))
