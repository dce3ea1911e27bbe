"""Texts for pipelines: labelled sentences from files, and generated words instead of data."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from generators import Words
from tfkd import text
from tfkd._core.named_inputs import TOKENS, named_inputs
from tfkd.datafree import Procedural, ProceduralText, Recipe
from tfkd.pipelines._examples import Examples, read_arrays
from tfkd.pipelines._text_files import read_texts
from tfkd.tasks import task_of

# Default number of tokens of a text.
_LENGTH, _AROUND = 32, 2
_SEGMENTS = "segment_ids"


def as_tokenizer(tokenizer: str | os.PathLike | text.Tokenizer | None) -> text.Tokenizer | None:
    """A tokenizer given as an object, folder or file."""
    return text.Tokenizer(tokenizer) if isinstance(tokenizer, str | os.PathLike) else tokenizer


def load_texts(
    source: Any, model: keras.Model, tokenizer: text.Tokenizer | None, argument: str
) -> Examples:
    """Labelled texts, in the form a text model takes.

    Args:
        source: `(texts, labels)`, where texts are strings or the model's inputs by name, int `(n, tokens)`
            each; a `.csv` or `.tsv` file of texts and labels, as for `read_texts`; or an npz file of the
            inputs and the labels `y`.
        model: the model that takes the texts; its task defines the labels.
        tokenizer: tokenizer of the strings; None for none.
        argument: name of the argument with the texts, for messages.

    Returns:
        int32 arrays by the names of the model's inputs, and labels.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is empty, incomplete or invalid.
    """
    what, names = f"`{argument}`", list(named_inputs(model) or {})
    if isinstance(source, str | os.PathLike):
        source = _of_file(os.fspath(source), names, argument)
    try:
        x, y = source
    except (TypeError, ValueError):
        raise TypeError(f"{what} must be a file or (texts, labels). Received: {type(source)}.") from None
    if not isinstance(x, dict):
        x = _tokenized(list(x), tokenizer, what)
    x = _checked(x, names, what)
    return x, task_of(model).check_labels(np.asarray(y), len(y), f"the labels of {what}")


def longest(*given: Examples | None) -> int:
    """Number of tokens of the longest texts in several arrays."""
    widths = [array.shape[1] for each in given if each is not None for array in each[0].values()]
    return max(widths, default=_LENGTH)


def filled_up(texts: Examples | None, length: int) -> Examples | None:
    """The texts padded with 0 to a common length."""
    if texts is None:
        return None
    x, y = texts
    return {name: np.pad(ids, ((0, 0), (0, length - ids.shape[1]))) for name, ids in x.items()}, y


def with_words(recipe: Recipe, tokenizer: text.Tokenizer | None, length: int) -> Recipe:
    """A recipe for texts; one without word generators gets generators for the tokenizer.

    `Procedural` with defaults means `ProceduralText`.

    Raises:
        ValueError: if it needs a tokenizer and there is none, or makes anything other than token ids.
    """
    if recipe == Procedural():
        recipe = ProceduralText()
    if not isinstance(recipe, ProceduralText) or recipe.prior:
        return recipe
    if tokenizer is None:
        raise ValueError(
            "`tokenizer` is needed: the model is queried with words of its vocabulary. Give a "
            "tfkd.text.Tokenizer, or the folder with its tokenizer.json or vocab.txt; or a `recipe` with "
            "your own `prior`."
        )
    most = max(1, length - _AROUND)
    words = Words.from_tokenizer(tokenizer, words=(min(4, most), most), length=length)
    # Wrapped students no longer have the blocks' hidden states.
    return recipe.with_options(prior=words, features=0.0)


def _of_file(path, names, argument):
    what = f"`{argument}`"
    if path.endswith(".npz"):
        *inputs, labels = read_arrays(path, (*names, "y"), what)
        return dict(zip(names, inputs, strict=True)), labels
    found = read_texts(path, argument)
    if found.labels is None:
        raise ValueError(f"{what}: {path!r} has no labels. Give a .csv or .tsv file with two columns.")
    return found.texts, found.labels


def _tokenized(texts: Sequence[str], tokenizer, what):
    if tokenizer is None:
        raise ValueError(
            f"`tokenizer` is needed: {what} are strings. Give a tfkd.text.Tokenizer, or the folder with "
            "its tokenizer.json or vocab.txt."
        )
    return tokenizer(texts)


def _checked(x, names, what):
    """The inputs of a model, as int32 arrays of the same shape."""
    if _SEGMENTS in names and _SEGMENTS not in x:
        # Token type ids: all texts are single sentences.
        x = {**x, _SEGMENTS: np.zeros_like(x[TOKENS])}
    if lacking := [name for name in names if name not in x]:
        raise ValueError(f"{what} lacks {lacking}, which the model takes. Received: {sorted(x)}.")
    arrays = {name: np.asarray(x[name]) for name in names}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or not all(next(iter(shapes))):
        raise ValueError(
            f"{what} must contain integers (n, tokens) of the same shape for each of {names}. Received: "
            f"{ {name: array.shape for name, array in arrays.items()} }."
        )
    if not all(array.dtype.kind in "biu" for array in arrays.values()):
        raise ValueError(
            f"{what} must contain integers. Received: {[a.dtype.name for a in arrays.values()]}."
        )
    return {name: array.astype("int32") for name, array in arrays.items()}
