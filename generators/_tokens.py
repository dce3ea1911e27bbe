"""TokenGenerator: generators of token id sequences."""

from typing import Any, ClassVar

from keras import ops

from generators._base import Generator
from generators._checks import check_int


def model_inputs(token_ids, pad_id: int = 0) -> dict[str, Any]:
    """The inputs of a language model.

    Only `pad_id` tokens after the last other token are padding. A token that both starts and pads texts,
    like GPT-2's, therefore counts at the beginning.

    Args:
        token_ids: int `(batch, length)`.
        pad_id: the token id of padding.

    Returns:
        `token_ids` and `padding_mask`, int32 `(batch, length)`, 1 where a token is not padding.

    Example:
        >>> model_inputs([[7, 5, 7, 7]], pad_id=7)["padding_mask"]  # [[1, 1, 0, 0]]
    """
    token_ids = ops.cast(token_ids, "int32")
    real = ops.cast(token_ids != pad_id, "int32")
    behind = ops.flip(ops.cumsum(ops.flip(real, axis=1), axis=1), axis=1)
    return {"token_ids": token_ids, "padding_mask": ops.cast(behind > 0, "int32")}


class TokenGenerator(Generator):
    """A generator of token ids, int32 `(batch, length)`, padded at the end.

    Args:
        length: the tokens in each sequence, including padding.
        latent_size: the number of standard-normal values for one sequence.
        pad_id: the token id of padding.
        tokenizer: the fingerprint of the tokenizer that the ids belong to, such as
            `tfkd.text.Tokenizer.fingerprint`; None if it is unknown.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: for a length below 1, or a latent size or token id below 0.
    """

    made_dtype: ClassVar[str] = "int32"

    def __init__(
        self, length: int, latent_size: int, pad_id: int = 0, tokenizer: str | None = None, **kwargs
    ) -> None:
        self.length, self.pad_id = check_int("length", length), check_int("pad_id", pad_id, least=0)
        self.tokenizer = tokenizer
        super().__init__((self.length,), latent_size, **kwargs)

    def model_inputs(self, token_ids) -> dict[str, Any]:
        """The inputs of a language model; see `model_inputs`."""
        return model_inputs(token_ids, self.pad_id)

    def get_config(self) -> dict:
        own = {"length": self.length, "pad_id": self.pad_id, "tokenizer": self.tokenizer}
        config = {**super().get_config(), **own}
        del config["image_shape"]
        return config
