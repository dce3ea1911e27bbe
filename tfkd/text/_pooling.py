"""Pooling of a text's tokens to one vector."""

from typing import Any

import keras
from keras import ops

from tfkd._core.checks import check_choice

POOLINGS = ("first", "mean")


@keras.saving.register_keras_serializable(package="tfkd")
class TokenPooling(keras.Layer):
    """Pools the hidden states of a text's tokens to one vector.

    Args:
        pooling: "first" takes the first token, which is [CLS]; "mean" takes the mean over real tokens,
            computed in float32.
        **kwargs: passed to `keras.Layer`.

    Call arguments:
        inputs: hidden states `(B, T, D)`.
        padding_mask: `(B, T)`, 1 or True at real tokens. For a text without any, "mean" gives zeros.

    Returns:
        A tensor `(B, D)` with the inputs' dtype.

    Raises:
        ValueError: for an unknown pooling.

    Example:
        >>> pooled = tfkd.text.TokenPooling("mean")(hidden, padding_mask)
    """

    def __init__(self, pooling: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pooling = check_choice("pooling", pooling, POOLINGS)

    def call(self, inputs, padding_mask):
        if self.pooling == "first":
            return inputs[:, 0, :]
        real = ops.cast(padding_mask, "float32")[:, :, None]
        total = ops.sum(ops.cast(inputs, "float32") * real, axis=1)
        return ops.cast(total / ops.maximum(ops.sum(real, axis=1), 1.0), inputs.dtype)

    def compute_output_shape(self, inputs_shape):
        return (inputs_shape[0], inputs_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pooling": self.pooling}
