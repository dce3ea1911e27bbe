"""TokenGenerator: what makes sequences of token ids."""

from typing import Any, ClassVar

from keras import ops

from generators._base import Generator
from generators._checks import check_int


class TokenGenerator(Generator):
    """A generator of token ids: int32 `(batch, length)`, behind whose last token stands padding.

    Args:
        length: tokens of each sequence, padding included.
        latent_size: number of standard-normal values that make one sequence.
        pad_id: token id of padding.
        **kwargs: passed to `keras.Model`.

    Raises:
        ValueError: for a length below 1, or a latent size or token id below 0.
    """

    made_dtype: ClassVar[str] = "int32"

    def __init__(self, length: int, latent_size: int, pad_id: int = 0, **kwargs) -> None:
        self.length, self.pad_id = check_int("length", length), check_int("pad_id", pad_id, least=0)
        super().__init__((self.length,), latent_size, **kwargs)

    def model_inputs(self, token_ids) -> dict[str, Any]:
        """What a language model takes.

        Args:
            token_ids: int `(batch, length)`.

        Returns:
            `token_ids` and `padding_mask`, int32 `(batch, length)`, 1 where a token is not padding.
        """
        token_ids = ops.cast(token_ids, "int32")
        return {"token_ids": token_ids, "padding_mask": ops.cast(token_ids != self.pad_id, "int32")}

    def get_config(self) -> dict:
        config = {**super().get_config(), "length": self.length, "pad_id": self.pad_id}
        del config["image_shape"]
        return config
