"""The dot-product attention between the projections of multi-head attention; imports tf_keras."""

import math
from typing import Any

import tensorflow as tf
import tf_keras

# Added to masked scores.
_HIDDEN = {"float32": -1e9, "float16": -3e4}


class DotProductOfHeads(tf_keras.layers.Layer):
    """Scaled dot-product attention of all heads, without weights, in float.

    It takes projected queries, keys and values `(batch, tokens, heads * size)`, and optionally a mask
    `(batch, 1 or tokens, tokens)` of the keys that each query may see; it returns `(batch, tokens, heads *
    size)`.

    Args:
        heads: the number of heads.
        dropout: the fraction of the probabilities that is dropped in training.
        **kwargs: passed to `tf_keras.layers.Layer`.
    """

    def __init__(self, heads: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.dropout = heads, dropout
        self._dropped = tf_keras.layers.Dropout(dropout)

    def call(self, inputs, training=None):
        *projected, mask = inputs if len(inputs) > 3 else (*inputs, None)
        query, key, value = map(self._by_head, projected)
        size = projected[0].shape[-1] // self.heads
        scores = tf.linalg.matmul(query, key, transpose_b=True) / math.sqrt(size)
        if mask is not None:
            hidden = 1 - tf.cast(tf.expand_dims(mask, 1), scores.dtype)
            scores += hidden * _HIDDEN.get(scores.dtype.name, _HIDDEN["float32"])
        probabilities = self._dropped(tf.nn.softmax(scores), training=training)
        context = tf.transpose(tf.linalg.matmul(probabilities, value), (0, 2, 1, 3))
        return tf.reshape(context, (-1, tf.shape(context)[1], projected[2].shape[-1]))

    def _by_head(self, x):
        split = (-1, tf.shape(x)[1], self.heads, x.shape[-1] // self.heads)
        return tf.transpose(tf.reshape(x, split), (0, 2, 1, 3))

    def compute_output_shape(self, input_shape):
        query, _, value = input_shape[:3]
        return (*query[:2], value[-1])

    def get_config(self) -> dict:
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}
