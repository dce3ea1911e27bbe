"""Words: sequences of random whole words from a vocabulary."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Self

from generators._checks import check_counts, check_int, check_number
from generators._distributions import uniform
from generators._tokens import TokenGenerator

# The marks of tokens at the start of a word, in byte-pair encodings and SentencePiece.
_BEGINS = ("Ġ", "▁")
# WordPiece's mark of tokens that continue a word.
_GOES_ON = "##"


def whole_words(vocabulary: Sequence[str], special_ids: Collection[int] = ()) -> list[int]:
    """Ids of the tokens that are whole words.

    A word has at least two letters and no other characters; single characters are left out, since
    vocabularies order them by code, not by frequency. Word continuations, unused entries and special tokens
    are left out, too.

    Args:
        vocabulary: the tokens by id, from a WordPiece, byte-pair or SentencePiece tokenizer.
        special_ids: ids that are always left out.

    Returns:
        Ids in the order of the vocabulary, which is by frequency, most frequent first.

    Example:
        >>> whole_words(["[PAD]", "[unused0]", "a", "the", "##ing", "of"])
        [3, 5]
    """
    begins = next((mark for mark in _BEGINS if any(token.startswith(mark) for token in vocabulary)), None)

    def word(token):
        if begins is not None:
            return token[1:] if token.startswith(begins) else ""
        return "" if token.startswith(_GOES_ON) else token

    words = ((i, word(token)) for i, token in enumerate(vocabulary) if i not in special_ids)
    return [i for i, letters in words if len(letters) > 1 and letters.isalpha()]


@keras.saving.register_keras_serializable(package="tfkd")
class Words(TokenGenerator):
    """Sequences of words drawn independently by Zipf's law; nothing to train.

    The probability of the k-th of n words is the integral from k to k + 1 of the density x ** -`exponent`
    on 1 to n + 1; with an exponent of 1 it is log(1 + 1 / k) / log(n + 1).

    Args:
        token_ids: the ids of the words, most frequent first; see `whole_words`.
        words: `(fewest, most)`, the range of the number of words in a sequence, drawn uniformly.
        exponent: the exponent of Zipf's law; 1 as in natural languages, 0 for words of equal probability.
        start_id: the token id before the words, such as that of [CLS]; None for none.
        end_id: the token id after the words, such as that of [SEP]; None for none.
        pad_id: the token id of padding.
        length: the tokens in each sequence, including padding; None for as many as the most words need.
        tokenizer: the fingerprint of the tokenizer that the ids belong to; None if it is unknown.
        **kwargs: passed to `keras.Model`.

    Returns (when called on latents):
        Token ids, int32 `(batch, length)`.

    Raises:
        ValueError: for an argument out of range, or a length too short for the most words.

    Example:
        >>> Words([5, 6, 7], words=(2, 4), start_id=1, end_id=2).sample(3, seed=0).shape
        TensorShape([3, 6])

    Reference:
        Zipf, "Human Behavior and the Principle of Least Effort", 1949. Deviation: probabilities are
        integrals of the power law, so that their cumulative sum has a closed-form inverse, as in
        TensorFlow's log-uniform sampler.
    """

    procedural = True

    def __init__(
        self,
        token_ids: Sequence[int],
        words: tuple[int, int] = (4, 21),
        exponent: float = 1.0,
        start_id: int | None = None,
        end_id: int | None = None,
        pad_id: int = 0,
        length: int | None = None,
        tokenizer: str | None = None,
        name: str = "words",
        **kwargs,
    ) -> None:
        self.token_ids = _checked_ids(token_ids)
        self.words = _, most = check_counts("words", words)
        self.exponent = check_number("exponent", exponent, least=0)
        self.start_id, self.end_id = (
            value if value is None else check_int(name_, value, least=0)
            for name_, value in (("start_id", start_id), ("end_id", end_id))
        )
        needed = most + (start_id is not None) + (end_id is not None)
        length = needed if length is None else check_int("length", length)
        if length < needed:
            raise ValueError(
                f"`length` must be at least {needed}, for {most} words and the tokens around them. "
                f"Received: length={length}. Use a longer `length`, or fewer `words`."
            )
        super().__init__(length, 1 + most, pad_id, tokenizer, name=name, **kwargs)
        self.built = True

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, **options) -> Self:
        """Creates a generator of words from a tokenizer's vocabulary, with its special tokens.

        Args:
            tokenizer: a `tfkd.text.Tokenizer`, or another object with `vocabulary`, `special_ids`,
                `cls_id`, `sep_id`, `pad_id` and `fingerprint`.
            **options: the other arguments of `Words`.

        Raises:
            ValueError: for a vocabulary without words, or an argument out of range.

        Example:
            >>> Words.from_tokenizer(tfkd.text.Tokenizer(folder), words=(1, 6))
        """
        known = {
            "start_id": tokenizer.cls_id,
            "end_id": tokenizer.sep_id,
            "pad_id": tokenizer.pad_id,
            "tokenizer": tokenizer.fingerprint,
        }
        found = whole_words(tokenizer.vocabulary, tokenizer.special_ids)
        return cls(found, **{**known, **options})

    def call(self, latent, labels=None, training: bool | None = None):
        fewest, most = self.words
        count = ops.cast(ops.floor(fewest + (most - fewest + 1) * uniform(latent[:, :1])), "int32")
        count = ops.minimum(count, most)
        place = np.arange(self.length - (self.start_id is not None))
        after = self.pad_id if self.end_id is None else ops.where(place == count, self.end_id, self.pad_id)
        drawn = ops.take(np.array(self.token_ids, "int32"), self._ranks(uniform(latent[:, 1:])), axis=0)
        drawn = ops.pad(drawn, ((0, 0), (0, len(place) - most)))
        tokens = ops.where(place < count, drawn, after)
        if self.start_id is None:
            return tokens
        return ops.pad(tokens, ((0, 0), (1, 0)), constant_values=self.start_id)

    def _ranks(self, share):
        """The ranks of words by frequency, from the inverse of the cumulative distribution."""
        n = len(self.token_ids)
        if self.exponent == 1:
            # In some backends, a constant to the power of a tensor loses the dtype.
            rank = ops.exp(np.float32(np.log(n + 1)) * share)
        else:
            left = 1 - self.exponent
            rank = (1 + share * ((n + 1) ** left - 1)) ** (1 / left)
        return ops.clip(ops.cast(ops.floor(rank), "int32") - 1, 0, n - 1)

    def __repr__(self) -> str:
        return (
            f"Words({len(self.token_ids)} words, words={self.words}, exponent={self.exponent}, "
            f"length={self.length})"
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "token_ids": list(self.token_ids),
            "words": list(self.words),
            "exponent": self.exponent,
            "start_id": self.start_id,
            "end_id": self.end_id,
        }


def _checked_ids(token_ids: Iterable[int]) -> tuple[int, ...]:
    token_ids = tuple(check_int("token_ids", each, least=0) for each in token_ids)
    if not token_ids:
        raise ValueError(
            "`token_ids` must contain at least one word. Received: none. tfkd.generators.whole_words finds "
            "the words of a vocabulary; one with only single characters or word pieces has none."
        )
    return token_ids
