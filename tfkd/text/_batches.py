"""Batches of texts of like lengths, so that little is spent on padding."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfkd._core.checks import check_int
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.text._tokenizer import Tokenizer, padded

# A label that does not count.
_IGNORED = -100


def batches(
    texts: Sequence[str],
    labels: Any = None,
    *,
    tokenizer: Tokenizer,
    pairs: Sequence[str] | None = None,
    batch_size: int = 32,
    lengths: Sequence[int] = (16, 24, 32, 48, 64),
    shuffle: bool = False,
    seed: int | EpochSeed | None = None,
) -> tf.data.Dataset:
    """A data set of texts in batches of like lengths.

    A text goes to the shortest of `lengths` that holds it, and to the tokenizer's `max_length`, at which
    it is cut, if none does. Each text comes once an epoch; the last batch of each length may be smaller.

    Args:
        texts: n strings.
        labels: an array `(n, ...)`; or, for labels of tokens, a list of n sequences of ints with one for
            each token, special ones included, which are padded with -100; None for texts alone.
        tokenizer: makes token ids of the texts, once.
        pairs: n strings, the second sentence of each; None for single texts.
        batch_size: most texts in a batch.
        lengths: numbers of tokens that batches are padded to.
        shuffle: whether texts and batches come in another order each epoch; otherwise they are sorted by
            length.
        seed: int that the orders follow from, in the order of epochs begun; or a `tfkd.text.EpochSeed`,
            which is a callback of `fit` too: with it a resumed `fit` sees the order that it would have
            seen. None for 0.

    Returns:
        A `tf.data.Dataset` of known cardinality, of dictionaries `token_ids`, `padding_mask` and, with
        pairs, `segment_ids`, int32 `(B, T)`; or of tuples of these and labels `(B, ...)`.

    Raises:
        TypeError: if texts are not strings.
        ValueError: if labels are not as many as texts, or an argument is out of range.

    Example:
        >>> data = tfkd.text.batches(sentences, labels, tokenizer=tokenizer, shuffle=True, seed=0)
        >>> model.fit(data, epochs=3)
    """
    check_int("batch_size", batch_size)
    widths = _widths(lengths, tokenizer.max_length)
    ids, segments, cut = tokenizer.encode(texts, pairs)
    if not ids:
        raise ValueError("`texts` must hold at least one text. Received: none.")
    if cut:
        warnings.warn(
            f"{cut} of {len(ids)} texts have more than {tokenizer.max_length} tokens and were cut. Give "
            "the tokenizer a larger `max_length` if their ends matter.",
            stacklevel=2,
        )
    targets = None if labels is None else _labels(labels, ids, tokenizer.max_length)
    buckets = np.searchsorted(widths, [len(row) for row in ids])

    def batch(rows):
        width = widths[buckets[rows[0]]]
        chosen = [ids[row] for row in rows]
        x = {
            "token_ids": padded(chosen, width, tokenizer.pad_id),
            "padding_mask": padded([[1] * len(row) for row in chosen], width, 0),
        }
        if pairs is not None:
            x["segment_ids"] = padded([segments[row] for row in rows], width, 0)
        if targets is None:
            return x
        if isinstance(targets, list):
            return x, padded([targets[row] for row in rows], width, _IGNORED)
        return x, targets[rows]

    orders = _Orders(buckets, batch_size, shuffle, seed)
    signature = _signature(batch(np.array([0])), isinstance(targets, list))
    data = _epochs(orders).map(functools.partial(_called, batch, signature))
    return data.apply(tf.data.experimental.assert_cardinality(orders.count))


def _epochs(orders):
    """Rows of one batch after the other; another order each time it is begun.

    Not `from_generator`: it has the C library return all freed memory at once, for as long as the process
    lives, and steps of training then take half as long again.
    """

    def order():
        made = orders.next()
        return np.concatenate(made).astype("int64"), np.array([len(rows) for rows in made], "int64")

    def begun(_):
        rows, sizes = tf.numpy_function(order, [], [tf.int64, tf.int64])
        ends = tf.cumsum(tf.ensure_shape(sizes, [None]))
        places = tf.data.Dataset.from_tensor_slices((ends - sizes, ends))
        return places.map(lambda begin, end: tf.ensure_shape(rows, [None])[begin:end])

    return tf.data.Dataset.range(1).flat_map(begun)


def _called(batch, signature, rows):
    """What a function of NumPy makes of rows, as tensors of a signature."""
    leaves = tf.nest.flatten(signature)
    made = tf.numpy_function(
        lambda rows: tf.nest.flatten(batch(rows)), [rows], [leaf.dtype for leaf in leaves]
    )
    made = [tf.ensure_shape(each, leaf.shape) for each, leaf in zip(made, leaves, strict=True)]
    return tf.nest.pack_sequence_as(signature, made)


class _Orders:
    """Which texts are in which batch, in one epoch after the other."""

    def __init__(self, buckets, batch_size, shuffle, seed):
        self._buckets = [np.flatnonzero(buckets == each) for each in np.unique(buckets)]
        self._batch_size, self._shuffle = batch_size, shuffle
        self._seed, self._begun = seed, 0
        self.count = sum(-(-len(rows) // batch_size) for rows in self._buckets)

    def next(self):
        if not self._shuffle:
            return self._cut(self._buckets)
        random = np.random.default_rng(self._state())
        made = self._cut([random.permutation(rows) for rows in self._buckets])
        return [made[index] for index in random.permutation(len(made))]

    def _state(self):
        if isinstance(self._seed, EpochSeed):
            return [*self._seed.seed, self._seed.epoch]
        self._begun += 1
        return [self._seed or 0, self._begun - 1]

    def _cut(self, buckets):
        size = self._batch_size
        return [rows[begin : begin + size] for rows in buckets for begin in range(0, len(rows), size)]


def _widths(lengths, longest):
    checked = sorted({check_int("lengths", each) for each in lengths})
    return [*(each for each in checked if each < longest), longest]


def _labels(labels, ids, longest):
    """Labels as an array, or as a list of rows where they are those of tokens."""
    if len(labels) != len(ids):
        raise ValueError(
            f"`labels` must be as many as the texts. Received: {len(labels)} for {len(ids)} texts."
        )
    of_tokens = isinstance(labels, list | tuple) and all(np.ndim(row) == 1 for row in labels)
    if not of_tokens:
        return np.asarray(labels)
    if all(_fits(row, text, longest) for row, text in zip(labels, ids, strict=True)):
        return [np.asarray(row, "int32")[: len(text)] for row, text in zip(labels, ids, strict=True)]
    if len({len(row) for row in labels}) > 1:
        index = next(i for i, text in enumerate(ids) if not _fits(labels[i], text, longest))
        raise ValueError(
            "`labels` of tokens must have one for each token of their text, special ones included. "
            f"Received: {len(labels[index])} for {len(ids[index])} tokens at {index}."
        )
    return np.asarray(labels)


def _fits(row, text, longest):
    return len(row) == len(text) or (len(row) > len(text) == longest)


def _signature(example, of_tokens):
    """Batches and lengths vary; other sizes of labels do not."""

    def spec(array, varying):
        return tf.TensorSpec((None, None) if varying else (None, *array.shape[1:]), array.dtype)

    x, *labels = example if isinstance(example, tuple) else (example,)
    inputs = {name: spec(array, True) for name, array in x.items()}
    return (inputs, spec(labels[0], of_tokens)) if labels else inputs
