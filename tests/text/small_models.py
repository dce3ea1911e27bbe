"""Small transformers and data of text, for tests."""

import types

import keras
import numpy as np

from tfkd import text

VOCABULARY, TOKENS, CLASSES = 40, 8, 2
# Ids of [PAD], [UNK], [CLS], [SEP] and [MASK].
TOKENIZER = types.SimpleNamespace(
    vocabulary=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(VOCABULARY - 5))],
    mask_id=4,
    special_ids={0, 1, 2, 3, 4},
)


def bert(layers: int = 2, width: int = 16, heads: int = 2, vocabulary: int = VOCABULARY) -> keras.Model:
    """A BERT of keras-hub without dropout, so that two runs are the same whatever was run before."""
    import keras_hub

    return keras_hub.models.BertBackbone(
        vocabulary_size=vocabulary,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=2 * width,
        dropout=0.0,
        max_sequence_length=TOKENS,
    )


def gpt2(layers: int = 2, width: int = 16, heads: int = 2) -> keras.Model:
    """A GPT-2 of keras-hub."""
    import keras_hub

    return keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=2 * width,
        dropout=0.0,
        max_sequence_length=TOKENS,
    )


def bert_classifier(**options) -> keras.Model:
    return text.classifier(bert(**options), CLASSES, dropout=0.0)


def bert_masked(**options) -> keras.Model:
    return text.masked_language_model(bert(**options))


def bert_encoder(**options) -> keras.Model:
    return text.sentence_encoder(bert(**options))


def gpt2_causal(**options) -> keras.Model:
    return text.causal_language_model(gpt2(**options))


def convolutional() -> keras.Model:
    """A classifier of texts without attention."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    mask = keras.Input((None,), dtype="int32", name="padding_mask")
    x = keras.layers.Embedding(VOCABULARY, 8)(ids)
    x = keras.layers.Conv1D(8, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model({"token_ids": ids, "padding_mask": mask}, keras.layers.Dense(CLASSES)(x))


def sentences(n: int = 48, seed: int = 0) -> dict[str, np.ndarray]:
    """Token ids of sentences of four to eight tokens, [CLS] and [SEP] among them."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(4, TOKENS + 1, n)
    mask = (np.arange(TOKENS)[None] < lengths[:, None]).astype("int32")
    ids = rng.integers(5, VOCABULARY, (n, TOKENS)).astype("int32")
    ids[:, 0] = 2
    ids[np.arange(n), lengths - 1] = 3
    return {"token_ids": ids * mask, "padding_mask": mask}
