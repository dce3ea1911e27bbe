"""Tiny models of token ids, which tell in their own ways what tokens count, and sentences for them."""

import keras
import keras_hub
import numpy as np
from keras import layers, ops

VOCABULARY, WIDTH, LABELS, LONGEST = 50, 16, 3, 12
_SIZES = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": WIDTH,
    "intermediate_dim": 32,
    "max_sequence_length": LONGEST,
    # In training mode, too, outputs are to be compared.
    "dropout": 0.0,
}


def sentences(n=6, longest=8, lengths=None, seed=0):
    """Inputs by name: ids, with 0 at padding, and the mask that says so."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, longest + 1, n) if lengths is None else np.asarray(lengths)
    real = np.arange(longest) < lengths[:, None]
    ids = np.where(real, rng.integers(1, VOCABULARY, real.shape), 0).astype("int32")
    return {
        "token_ids": ids,
        "padding_mask": real.astype("int32"),
        # What padding looks like must not matter.
        "segment_ids": (ids % 2).astype("int32"),
    }


def bert(**options):
    return keras_hub.models.BertBackbone(**{**_SIZES, "name": "bert_backbone", **options})


def distil_bert(**options):
    return keras_hub.models.DistilBertBackbone(**{**_SIZES, "name": "distil_bert_backbone", **options})


def bert_classifier(**options):
    return keras_hub.models.BertTextClassifier(bert(**options), LABELS, dropout=0.0)


def distil_bert_classifier(**options):
    return keras_hub.models.DistilBertTextClassifier(
        distil_bert(**options), LABELS, hidden_dim=WIDTH, dropout=0.0
    )


def bert_tagger(**options):
    """Logits for each token, of a functional model that takes its inputs by name."""
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in sentences(1)}
    hidden = bert(**options)(inputs)["sequence_output"]
    return keras.Model(inputs, layers.Dense(LABELS, name="logits")(hidden))


@keras.saving.register_keras_serializable("tests")
class SubclassedTagger(keras.Model):
    """The same of a model without a graph, called with a dictionary."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.backbone, self.head = bert(), layers.Dense(LABELS, name="logits")

    def call(self, inputs, training=None):
        return self.head(self.backbone(inputs, training=training)["sequence_output"])


def subclassed_tagger():
    model = SubclassedTagger()
    model(sentences(2))
    return model


def keras_masks_tagger():
    """Keras's own masks, which its attention layer drops, from the ids alone."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    x = layers.Embedding(VOCABULARY, WIDTH, mask_zero=True, name="embedding")(ids)
    # A second layer of attention would not know which tokens are padding.
    attended = layers.MultiHeadAttention(2, 8, name="attention")(x, x)
    x = layers.LayerNormalization(name="layer")(layers.Add()([x, attended]))
    return keras.Model(ids, layers.Dense(LABELS, name="logits")(x))


def inner_mask_tagger():
    """Ids alone, from which the model makes the `padding_mask` that its layers are called with."""
    ids = keras.Input((None,), dtype="int32", name="token_ids")
    x = layers.Embedding(VOCABULARY, WIDTH, name="embedding")(ids)
    real = ops.not_equal(ids, 0)
    for i in range(2):
        encoder = keras_hub.layers.TransformerEncoder(32, 2, dropout=0.0, name=f"layer_{i}")
        x = encoder(x, padding_mask=real)
    return keras.Model(ids, layers.Dense(LABELS, name="logits")(x))


# Models of logits for each token, and the tap of what their last block gives.
TAGGERS = {
    "functional": (bert_tagger, "bert_backbone/transformer_layer_1"),
    "subclassed": (subclassed_tagger, "bert_backbone/transformer_layer_1"),
    "keras_masks": (keras_masks_tagger, "layer"),
    "inner_mask": (inner_mask_tagger, "layer_1"),
}
