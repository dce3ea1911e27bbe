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
    """A tokenizer, as far as a file has to know it; `tfkd.text.Tokenizer` is one."""

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
        TypeError: if it is neither a tokenizer nor a list of tokens.
        ValueError: if there are none, or one has a line break in it.
    """
    tokens = vocabulary.vocabulary if isinstance(vocabulary, VocabularyHolder) else vocabulary
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        raise TypeError(
            "`vocabulary` must be a tfkd.text.Tokenizer, or the list of tokens by id. Received: "
            f"{vocabulary!r}."
        )
    tokens = list(tokens)
    if not tokens or not all(isinstance(token, str) and not {"\n", "\r"} & set(token) for token in tokens):
        raise ValueError(
            f"`vocabulary` must be strings of one line each, at least one. Received: {len(tokens)} tokens, "
            f"such as {tokens[:3]}."
        )
    return tokens


def described_tokens(vocabulary: Vocabulary | None) -> dict:
    """What metadata say of a vocabulary: its size, its file, and the ids that texts are framed by."""
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
        file: its path, or its content.

    Returns:
        A list of tokens.

    Raises:
        ValueError: if the file holds no vocabulary.

    Example:
        >>> tfkd.export.read_vocabulary("student.tflite")[5]
    """
    content = file if isinstance(file, bytes) else pathlib.Path(file).read_bytes()
    try:
        return read_lines(content, NAME)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            f"`file` has no {NAME}; export it with tfkd.export.export_tflite(..., vocabulary=tokenizer)."
        ) from error
