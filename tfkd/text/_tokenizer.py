"""Tokenization of texts, identical to Hugging Face's tokenizers."""

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfkd._core import files
from tfkd._core.checks import check_int
from tfkd.text._tokenizer_files import read_tokenizer

_CONVENTIONAL = {
    "pad_token": ("[PAD]", "<pad>"),
    "mask_token": ("[MASK]", "<mask>"),
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "eos_token": ("<|endoftext|>", "</s>"),
}


class Tokenizer:
    """Converts texts to token ids with the `tokenizers` library and a Hugging Face model's files.

    Truncation and padding settings in a file are ignored: texts are truncated at `max_length` tokens and
    padded to the longest in a batch. An empty text is a valid text: `[CLS][SEP]` if the tokenizer adds
    these, otherwise one end-of-text token.

    Args:
        folder_or_file: a folder with `tokenizer.json`, BERT's `vocab.txt`, or `vocab.json` and `merges.txt`
            of GPT-2 or RoBERTa; or a `tokenizer.json` itself.
        max_length: number of tokens, including special ones, at which texts are truncated; at least 3.

    Attributes:
        max_length: as above.
        vocabulary: list of str, the tokens by their ids.
        pad_id: int, the id at padding. GPT-2 has no padding token, so its end-of-text token is used; the
            mask distinguishes padding from a real one.
        mask_id, cls_id, sep_id: int, or None if the tokenizer has no such token.
        special_ids: set of int, the ids of tokens that are not text.
        fingerprint: str, sixteen hexadecimal digits determined by the vocabulary and by how texts are
            split.
        truncated: int, number of texts truncated so far.

    Raises:
        ImportError: if the `tokenizers` library is missing; the message says what to install.
        ValueError: if there is no tokenizer, or the file cannot be read as one.

    Example:
        >>> tokenizer = tfkd.text.Tokenizer("all-MiniLM-L6-v2", max_length=64)
        >>> tokenizer(["a film", "so moving and so funny"])["token_ids"].shape
        (2, 7)
    """

    def __init__(self, folder_or_file: str | os.PathLike, max_length: int = 128) -> None:
        self.max_length = check_int("max_length", max_length, least=3)
        read = read_tokenizer(os.fspath(folder_or_file))
        self._tokenizer = read.tokenizer
        self._tokenizer.enable_truncation(self.max_length)
        self._tokenizer.no_padding()
        self.truncated = 0
        ids = self._tokenizer.get_vocab(with_added_tokens=True)
        self.vocabulary = [""] * (max(ids.values()) + 1)
        for token, index in ids.items():
            self.vocabulary[index] = token
        special = {name: self._special(name, read.special_tokens) for name in _CONVENTIONAL}
        self.mask_id, self.cls_id = special["mask_token"], special["cls_token"]
        self.sep_id, self._end_id = special["sep_token"], special["eos_token"]
        pad_id = special["pad_token"]
        self.pad_id: int = (self._end_id or 0) if pad_id is None else pad_id
        self._empty_id: int = self.pad_id if self._end_id is None else self._end_id
        added = self._tokenizer.get_added_tokens_decoder()
        self.special_ids = {index for index, token in added.items() if token.special}
        self.special_ids |= {index for index in special.values() if index is not None}
        self.fingerprint = _fingerprint(self.vocabulary, self._tokenizer)

    def __call__(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, length: int | None = None
    ) -> dict[str, np.ndarray]:
        """The token ids of texts.

        Args:
            texts: n strings; bytes are read as UTF-8.
            pairs: n strings, the second sentence of each; None for single texts.
            length: number of tokens to pad and truncate to, at most `max_length`; None to pad to the
                longest.

        Returns:
            A dictionary of int32 arrays `(n, T)`: `token_ids`, `padding_mask` with 1 at real tokens, and,
            with `pairs`, `segment_ids`.

        Raises:
            TypeError: if the texts are not strings; the message names the first that is not.
            ValueError: if the numbers of texts and pairs differ, or `length` is out of range.
        """
        ids, segments, cut = self.encode(texts, pairs, length)
        if cut:
            warnings.warn(
                f"{cut} of {len(ids)} texts have more than {length or self.max_length} tokens and were "
                "truncated. Give the tokenizer a larger `max_length` if their ends matter.",
                stacklevel=2,
            )
        width = length or max(map(len, ids), default=1)
        encoded = {"token_ids": padded(ids, width, self.pad_id)}
        encoded["padding_mask"] = padded([[1] * len(row) for row in ids], width, 0)
        if pairs is not None:
            encoded["segment_ids"] = padded(segments, width, 0)
        return encoded

    def encode(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, length: int | None = None
    ) -> tuple[list[list[int]], list[list[int]], int]:
        """Ids and segments of texts, as unpadded lists, and the number of truncated texts."""
        if length is not None:
            check_int("length", length, least=3, most=self.max_length)
        items: list[Any] = _strings(texts, "texts")
        if pairs is not None:
            seconds = _strings(pairs, "pairs")
            if len(seconds) != len(items):
                raise ValueError(
                    f"`pairs` must have one text for each of `texts`. Received: {len(seconds)} for "
                    f"{len(items)}."
                )
            items = list(zip(items, seconds, strict=True))
        self._tokenizer.enable_truncation(length or self.max_length)
        try:
            found = self._tokenizer.encode_batch(items)
        finally:
            self._tokenizer.enable_truncation(self.max_length)
        cut = sum(bool(each.overflowing) for each in found)
        self.truncated += cut
        # Attention would have nothing to attend to in a text without any tokens.
        empty = [self._empty_id]
        ids = [each.ids or empty for each in found]
        return ids, [each.type_ids or [0] for each in found], cut

    def map(self, dataset: tf.data.Dataset, length: int | None = None) -> tf.data.Dataset:
        """Replaces texts in a data set of batches by token ids.

        Args:
            dataset: batches of strings `(B,)`, alone or first in a tuple with labels and weights; a nested
                tuple of two such batches means pairs of sentences.
            length: number of tokens to pad to; None for the longest in each batch.

        Returns:
            A data set with the dictionary of `__call__` in place of the texts. Truncated texts are counted
            in `truncated`.

        Example:
            >>> data = tf.data.Dataset.from_tensor_slices((texts, labels)).batch(32)
            >>> model.fit(tokenizer.map(data))
        """

        def mapped(*element):
            texts, *others = element
            encoded = self._encoded_tensors(texts, length)
            return (encoded, *others) if others else encoded

        return dataset.map(mapped)

    def _encoded_tensors(self, texts, length):
        several = isinstance(texts, tuple)
        names = ["token_ids", "padding_mask", *(["segment_ids"] if several else [])]

        def encode(*columns):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                encoded = self(*columns, length=length)
            return [encoded[name] for name in names]

        columns = list(texts) if several else [texts]
        arrays = tf.numpy_function(encode, columns, [tf.int32] * len(names))
        return {
            name: tf.ensure_shape(each, (None, length)) for name, each in zip(names, arrays, strict=True)
        }

    def decode(self, ids: Any) -> Any:
        """The text of token ids `(T,)`, or the list of texts of `(n, T)`, without special tokens."""
        rows = np.asarray(ids)
        if rows.ndim == 1:
            return self._tokenizer.decode(rows.tolist(), skip_special_tokens=True)
        return self._tokenizer.decode_batch(rows.tolist(), skip_special_tokens=True)

    def save(self, folder: str | os.PathLike) -> str:
        """Writes `tokenizer.json` into a folder, from which `Tokenizer(folder)` makes the same one.

        Returns:
            The path of the file.
        """
        described = json.loads(self._tokenizer.to_str())
        described["truncation"] = None
        # Records the padding token if special tokens have unusual names.
        described["padding"] = {
            "strategy": "BatchLongest",
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": self.pad_id,
            "pad_type_id": 0,
            "pad_token": self.vocabulary[self.pad_id],
        }
        path = os.path.join(os.fspath(folder), "tokenizer.json")
        files.write_text(path, json.dumps(described, ensure_ascii=False))
        return path

    def __repr__(self) -> str:
        return (
            f"Tokenizer({len(self.vocabulary):,} tokens, at most {self.max_length} per text, pads with "
            f"{self.vocabulary[self.pad_id]!r}, {self.fingerprint})"
        )

    def _special(self, name, stated):
        """The id of a special token, from the files or by its usual names; None without one."""
        for token in (stated.get(name), *_CONVENTIONAL[name]):
            if token is not None and (index := self._tokenizer.token_to_id(token)) is not None:
                return index
        return None


def padded(rows: Sequence[Sequence[int]], width: int, value: int) -> np.ndarray:
    """Rows of different lengths as an int32 array `(n, width)`."""
    array = np.full((len(rows), width), value, "int32")
    for target, row in zip(array, rows, strict=True):
        target[: len(row)] = row
    return array


def _strings(texts, name):
    if isinstance(texts, str | bytes):
        raise TypeError(
            f"`{name}` must be a sequence of strings. Received one: {texts!r}. Put it in a list."
        )
    made = [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in texts]
    for index, each in enumerate(made):
        if not isinstance(each, str):
            raise TypeError(
                f"`{name}` must be strings. Received: {each!r} of type {type(each).__name__} at index "
                f"{index}. Leave such rows out, or replace them with ''."
            )
    return [str(each) for each in made]


def _fingerprint(vocabulary, tokenizer):
    described = json.loads(tokenizer.to_str())
    model = {key: value for key, value in described["model"].items() if key != "vocab"}
    told = [vocabulary, model, described["normalizer"], described["pre_tokenizer"]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
