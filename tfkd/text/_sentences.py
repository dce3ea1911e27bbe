"""Augmented sentences and their origins."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Sentences(NamedTuple):
    """Augmented sentences.

    Args:
        texts: the sentences, including the originals.
        origins: int64 `(sentences,)`, the index of the original of each sentence, so that `labels[origins]`
            are their labels.
    """

    texts: list[str]
    origins: np.ndarray


def check_texts(texts: Sequence[str]) -> list[str]:
    """The texts as a list; raises TypeError for non-strings, ValueError for none or empty ones."""
    if isinstance(texts, str):
        raise TypeError(f"`texts` must be a list of strings. Received: the string {texts!r}.")
    texts = list(texts)
    if not texts:
        raise ValueError("`texts` is empty. Give at least one sentence.")
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"`texts` must contain strings. Received: {text!r} of type {type(text)}.")
        if not text.split():
            raise ValueError(f"`texts[{number}]` has no words. Received: {text!r}. Leave it out.")
    return texts
