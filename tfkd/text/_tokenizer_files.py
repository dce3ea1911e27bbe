"""Reads the tokenizer of a folder from its files."""

import dataclasses
import json
import os
from typing import Any

from tfkd._core import extras

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json")
_REMEDY = (
    "Copy the tokenizer's files from the model's source, or write them with transformers: "
    "AutoTokenizer.from_pretrained(name).save_pretrained(folder)."
)


@dataclasses.dataclass(frozen=True)
class ReadTokenizer:
    """A tokenizer of the `tokenizers` library, and its special tokens as named in the files."""

    tokenizer: Any
    special_tokens: dict[str, str]


def read_tokenizer(path: str) -> ReadTokenizer:
    """The tokenizer of a folder, or of a `tokenizer.json`.

    Raises:
        ImportError: if the `tokenizers` library is missing.
        ValueError: if there is none, or it cannot be read; the message names the remedy.
    """
    library = extras.require("tokenizers", "text", "A tokenizer")
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    settings = {}
    for name in reversed(_SETTINGS):
        settings |= read_json(os.path.join(folder, name), missing={})
    try:
        tokenizer = _tokenizer(library, path, settings)
    # The library raises plain Exception for a damaged file.
    except Exception as error:
        if isinstance(error, _NoTokenizer):
            raise
        raise ValueError(
            f"`folder_or_file`: the tokenizer of {path!r} cannot be read: {error}. {_REMEDY}"
        ) from error
    special_tokens = _special_tokens(settings)
    if tokenizer.padding:
        special_tokens.setdefault("pad_token", tokenizer.padding["pad_token"])
    return ReadTokenizer(tokenizer, special_tokens)


def read_json(path: str, missing: Any = None) -> Any:
    """The JSON object in a file; `missing` if there is no file.

    Raises:
        ValueError: if it is not a JSON object.
    """
    if not os.path.isfile(path):
        return missing
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path!r} is not JSON: {error}. Copy the file again.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path!r} must contain a JSON object. Received: {type(found).__name__}.")
    return found


class _NoTokenizer(ValueError):
    pass


def _tokenizer(library, path, settings):
    if os.path.isfile(path):
        return library.Tokenizer.from_file(path)
    there = {name: os.path.join(path, name) for name in os.listdir(path)} if os.path.isdir(path) else {}
    if "tokenizer.json" in there:
        return library.Tokenizer.from_file(there["tokenizer.json"])
    if "vocab.txt" in there:
        return _word_piece(library, there["vocab.txt"], settings)
    if {"vocab.json", "merges.txt"} <= set(there):
        return _byte_pairs(library, there["vocab.json"], there["merges.txt"])
    raise _NoTokenizer(
        f"`folder_or_file`: {path!r} contains no tokenizer: there is neither tokenizer.json nor vocab.txt "
        "nor vocab.json with merges.txt. Received a folder with: "
        f"{', '.join(sorted(there)[:10]) or 'nothing'}. {_REMEDY}"
    )


def _word_piece(library, vocabulary, settings):
    """BERT's tokenizer, which lower-cases and strips accents unless configured otherwise."""
    lower = bool(settings.get("do_lower_case", True))
    made = library.BertWordPieceTokenizer(
        vocabulary,
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
        strip_accents=settings.get("strip_accents"),
        lowercase=lower,
    )
    return library.Tokenizer.from_str(made.to_str())


def _byte_pairs(library, vocabulary, merges):
    """GPT-2's tokenizer, or RoBERTa's, which has begin-of-text and end-of-text tokens."""
    made = library.ByteLevelBPETokenizer(vocabulary, merges)
    begin, end = (made.token_to_id(token) for token in ("<s>", "</s>"))
    tokenizer = library.Tokenizer.from_str(made.to_str())
    named = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>")
    tokenizer.add_special_tokens([token for token in named if tokenizer.token_to_id(token) is not None])
    if begin is not None and end is not None:
        tokenizer.post_processor = library.processors.RobertaProcessing(
            ("</s>", end), ("<s>", begin), trim_offsets=False, add_prefix_space=False
        )
    return tokenizer


def _special_tokens(settings):
    """The special tokens by their roles; files give them as strings or as objects with `content`."""
    said = {key: value for key, value in settings.items() if key.endswith("_token")}
    plain = {key: value.get("content") if isinstance(value, dict) else value for key, value in said.items()}
    return {key: value for key, value in plain.items() if isinstance(value, str)}
