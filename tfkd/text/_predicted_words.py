"""Augmentation: words replaced by predictions of a masked language model."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.checks import check_int, check_number
from tfkd._core.named_inputs import taken_by
from tfkd.text._parts_of_models import token_embedding
from tfkd.text._sentences import Sentences, check_texts

# WordPiece's prefix of later pieces of a word.
_CONTINUED = "##"


def augment_by_predictions(
    texts: Sequence[str],
    model: keras.Model,
    tokenizer: Any,
    *,
    copies: int = 20,
    replace: float = 0.4,
    candidates: int = 15,
    batch_size: int = 32,
    seed: int = 0,
) -> Sentences:
    """Augments sentences with predictions of a masked language model, as TinyBERT does.

    For a single-piece word the candidates are the model's most likely predictions at its position; for a
    word of several pieces, the words with embeddings nearest to the mean of its pieces. Words without a
    letter are kept. In each copy of a sentence, every word may independently be replaced by one of its
    candidates; duplicates are dropped.

    Args:
        texts: sentences whose words are separated by spaces.
        model: a masked language model, `(batch, tokens, vocabulary)` logits of `tokenizer`'s tokens.
        tokenizer: a `tfkd.text.Tokenizer` of word pieces.
        copies: number of copies of each sentence, at least 1.
        replace: probability that a word is replaced, in (0, 1].
        candidates: number of candidates per word, at least 1.
        batch_size: number of masked sentences in a batch.
        seed: int seed of all choices, at least 0.

    Returns:
        `Sentences`: the given ones, each followed by its copies.

    Raises:
        TypeError: if `texts` are not strings.
        ValueError: for an empty sentence, a number out of its range, or a model with another vocabulary.

    Example:
        >>> made = tfkd.text.augment_by_predictions(sentences, masked_model, tokenizer, copies=5)
        >>> data = tfkd.text.batches(made.texts, tokenizer=tokenizer)

    Reference:
        Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020, algorithm 1 with
        20 copies, 0.4 and 15 candidates. Deviations: nearest words are found with the model's own
        embeddings instead of GloVe; stop words are replaced, too.
    """
    texts = check_texts(texts)
    check_int("copies", copies)
    check_int("candidates", candidates)
    check_number("replace", replace, above=0, most=1)
    rng = np.random.default_rng(check_int("seed", seed, least=0))
    finder = _Candidates(model, tokenizer, candidates, check_int("batch_size", batch_size))
    sentences = [text.split() for text in texts]
    choices = finder.of_sentences(sentences)
    made, origins, seen = [], [], set(texts)
    for number, (text, words) in enumerate(zip(texts, sentences, strict=True)):
        made.append(text)
        origins.append(number)
        for _ in range(copies):
            rolls, places = rng.random(len(words)), rng.random(len(words))
            copy = " ".join(
                options[int(place * len(options))] if options and roll < replace else word
                for word, options, roll, place in zip(words, choices[number], rolls, places, strict=True)
            )
            if copy not in seen:
                seen.add(copy)
                made.append(copy)
                origins.append(number)
    return Sentences(made, np.array(origins, "int64"))


class _Candidates:
    """The candidates for each word of sentences."""

    def __init__(self, model, tokenizer, count, batch_size) -> None:
        table = token_embedding(model)
        if tokenizer.mask_id is None or table is None or table.input_dim != len(tokenizer.vocabulary):
            raise ValueError(
                f"`model` {model.name!r} must be a masked language model with the "
                f"{len(tokenizer.vocabulary)} tokens of `tokenizer`, which must have a mask token. "
                f"Received: {table and table.input_dim} tokens, mask {tokenizer.mask_id}."
            )
        self.model, self.tokenizer, self.count, self.batch_size = model, tokenizer, count, batch_size
        special = np.isin(np.arange(len(tokenizer.vocabulary)), list(tokenizer.special_ids))
        pieces = enumerate(tokenizer.vocabulary)
        words = [not piece.startswith(_CONTINUED) and piece.isalpha() for _, piece in pieces]
        # Only whole words are candidates.
        self.allowed = np.array(words) & ~special
        rows = keras.ops.convert_to_numpy(table.embeddings).astype("float32")
        self.directions = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)

    def of_sentences(self, sentences) -> list[list[list[str]]]:
        """The candidates of each word in each sentence; none for words without a letter."""
        found = [[[] for _ in words] for words in sentences]
        masked = []
        pieces = self._pieces({word for words in sentences for word in words})
        nearest = {word: self._nearest(ids) for word, ids in pieces.items() if len(ids) > 1}
        for number, words in enumerate(sentences):
            for place, word in enumerate(words):
                if not any(letter.isalpha() for letter in word):
                    continue
                if word in nearest:
                    found[number][place] = nearest[word]
                elif pieces[word]:
                    masked.append((number, place))
        for (number, place), ids in zip(masked, self._predicted(sentences, masked), strict=True):
            found[number][place] = [self.tokenizer.vocabulary[index] for index in ids]
        return found

    def _pieces(self, words):
        """The token ids of each word."""
        words = sorted(words)
        ids = self.tokenizer(words)["token_ids"]
        special = self.tokenizer.special_ids
        return {
            word: [i for i in row.tolist() if i not in special]
            for word, row in zip(words, ids, strict=True)
        }

    def _nearest(self, ids):
        """The words with embeddings nearest to the mean of the given pieces."""
        similar = np.where(self.allowed, self.directions @ self.directions[ids].mean(axis=0), -np.inf)
        similar[ids] = -np.inf
        return [self.tokenizer.vocabulary[i] for i in np.argsort(-similar)[: self.count]]

    def _predicted(self, sentences, masked) -> Iterator[list[int]]:
        """The most likely tokens for each masked word."""
        mask = self.tokenizer.vocabulary[self.tokenizer.mask_id]
        order = sorted(range(len(masked)), key=lambda i: len(sentences[masked[i][0]]))
        answers: list[list[int]] = [[] for _ in masked]
        likeliest = _likeliest(self.model, self.allowed, self.tokenizer.mask_id, self.count)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            texts = []
            for number, place in (masked[i] for i in chosen):
                words = sentences[number]
                texts.append(" ".join([*words[:place], mask, *words[place + 1 :]]))
            inputs = self.tokenizer(texts)
            # In a truncated text the mask may be missing.
            there = np.any(inputs["token_ids"] == self.tokenizer.mask_id, axis=1)
            for i, ids, known in zip(chosen, likeliest(inputs).numpy().tolist(), there, strict=True):
                answers[i] = ids if known else []
        return iter(answers)


def _likeliest(model, allowed, mask_id, count):
    """A compiled function from masked inputs to the most likely allowed tokens at the mask."""

    @tf.function(reduce_retracing=True)
    def likeliest(inputs):
        places = tf.argmax(tf.cast(inputs["token_ids"] == mask_id, "int32"), axis=1, output_type="int32")
        logits = tf.gather(
            tf.cast(model(taken_by(model, inputs), training=False), "float32"), places, batch_dims=1
        )
        return tf.math.top_k(tf.where(allowed, logits, -1e9), count).indices

    return lambda inputs: likeliest({name: tf.constant(values) for name, values in inputs.items()})
