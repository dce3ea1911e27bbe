"""The vocabulary of a text model, packed into its file."""

import os
import pathlib
import zipfile
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from tfkd.export._associated_files import read_lines

NAME = "vocab.txt"


@runtime_checkable
class VocabularyHolder(Protocol):
    """The part of a tokenizer that a file needs; `tfkd.text.Tokenizer` has it."""

    @property
    def vocabulary(self) -> list[str]: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def pad_id(self) -> int | None: ...

    @property
    def mask_id(self) -> int | None: ...

    @property
    def cls_id(self) -> int | None: ...

    @property
    def sep_id(self) -> int | None: ...


Vocabulary = Sequence[str] | VocabularyHolder


def tokens_of(vocabulary: Vocabulary) -> list[str]:
    """The tokens by id, checked.

    Raises:
        TypeError: if `vocabulary` is neither a tokenizer nor a list of tokens.
        ValueError: if there are no tokens, or if one contains a line break.
    """
    tokens = vocabulary.vocabulary if isinstance(vocabulary, VocabularyHolder) else vocabulary
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        raise TypeError(
            "`vocabulary` must be a tfkd.text.Tokenizer or a list of tokens by id. Received: "
            f"{vocabulary!r}."
        )
    tokens = list(tokens)
    if not tokens or not all(isinstance(token, str) and not {"\n", "\r"} & set(token) for token in tokens):
        raise ValueError(
            f"`vocabulary` must contain at least one token, and only strings without line breaks. "
            f"Received: {len(tokens)} tokens, such as {tokens[:3]}."
        )
    return tokens


def described_tokens(vocabulary: Vocabulary | None) -> dict:
    """The metadata of a vocabulary: its size, its file, and the ids of special tokens."""
    if vocabulary is None:
        return {}
    described = {"vocabulary": {"file": NAME, "size": len(tokens_of(vocabulary))}}
    if isinstance(vocabulary, VocabularyHolder):
        names = ("pad_id", "mask_id", "cls_id", "sep_id", "fingerprint")
        described["vocabulary"] |= {name: getattr(vocabulary, name) for name in names}
    return described


def read_vocabulary(file: bytes | str | os.PathLike) -> list[str]:
    """The tokens, by id, that `export_tflite` packed into a TFLite file.

    Args:
        file: the path of the file, or its content.

    Returns:
        A list of tokens.

    Raises:
        ValueError: if the file contains no vocabulary.

    Example:
        >>> tfkd.export.read_vocabulary("student.tflite")[5]
    """
    content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    try:
        return read_lines(content, NAME)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            f"`file` contains no {NAME}. Export it with "
            "tfkd.export.export_tflite(..., vocabulary=tokenizer)."
        ) from error
