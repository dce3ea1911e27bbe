"""Batches of texts of similar length, to reduce padding."""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfkd._core.checks import check_int
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.text._tokenizer import Tokenizer, padded

# The label of a position that does not count.
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
    """A data set of texts in batches of similar length.

    A text is padded to the shortest of `lengths` that it fits in, otherwise to the tokenizer's
    `max_length`, at which it is truncated. Each text appears once per epoch; the last batch of each length
    may be smaller.

    Args:
        texts: n strings.
        labels: an array `(n, ...)`; or, for token labels, a list of n sequences of ints, one for each token
            including special ones, which are padded with -100; None for texts alone.
        tokenizer: the tokenizer; texts are tokenized once.
        pairs: n strings, the second sentence of each; None for single texts.
        batch_size: maximum number of texts in a batch.
        lengths: numbers of tokens that batches are padded to.
        shuffle: whether texts and batches are shuffled in each epoch; otherwise they are sorted by length.
        seed: int seed of the orders, one after another for each started epoch; or a `tfkd.text.EpochSeed`,
            which is also a callback for `fit`: with it, a resumed `fit` sees the same order as an
            uninterrupted one. None for 0.

    Returns:
        A `tf.data.Dataset` of known cardinality, with dictionaries of `token_ids`, `padding_mask` and, with
        pairs, `segment_ids`, int32 `(B, T)`; or with tuples of these and labels `(B, ...)`.

    Raises:
        TypeError: if texts are not strings.
        ValueError: if the numbers of labels and texts differ, or an argument is out of range.

    Example:
        >>> data = tfkd.text.batches(sentences, labels, tokenizer=tokenizer, shuffle=True, seed=0)
        >>> model.fit(data, epochs=3)
    """
    check_int("batch_size", batch_size)
    widths = _widths(lengths, tokenizer.max_length)
    ids, segments, cut = tokenizer.encode(texts, pairs)
    if not ids:
        raise ValueError("`texts` must contain at least one text. Received: none.")
    if cut:
        warnings.warn(
            f"{cut} of {len(ids)} texts have more than {tokenizer.max_length} tokens and were truncated. "
            "Give the tokenizer a larger `max_length` if their ends matter.",
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
    """The rows of each batch, one batch after another; a new order each time it is iterated.

    Not `from_generator`: it makes the C library return all freed memory at once for the rest of the
    process, which makes training steps half as slow again.
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
    """The result of a NumPy function of rows, as tensors with a signature."""
    leaves = tf.nest.flatten(signature)
    made = tf.numpy_function(
        lambda rows: tf.nest.flatten(batch(rows)), [rows], [leaf.dtype for leaf in leaves]
    )
    made = [tf.ensure_shape(each, leaf.shape) for each, leaf in zip(made, leaves, strict=True)]
    return tf.nest.pack_sequence_as(signature, made)


class _Orders:
    """The assignment of texts to batches, epoch by epoch."""

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
    """Labels as an array, or as a list of rows for token labels."""
    if len(labels) != len(ids):
        raise ValueError(
            f"`labels` must have one entry per text. Received: {len(labels)} for {len(ids)} texts."
        )
    of_tokens = isinstance(labels, list | tuple) and all(np.ndim(row) == 1 for row in labels)
    if not of_tokens:
        return np.asarray(labels)
    if all(_fits(row, text, longest) for row, text in zip(labels, ids, strict=True)):
        return [np.asarray(row, "int32")[: len(text)] for row, text in zip(labels, ids, strict=True)]
    if len({len(row) for row in labels}) > 1:
        index = next(i for i, text in enumerate(ids) if not _fits(labels[i], text, longest))
        raise ValueError(
            "`labels` of tokens must have one entry per token of the text, including special ones. "
            f"Received: {len(labels[index])} for {len(ids[index])} tokens at index {index}."
        )
    return np.asarray(labels)


def _fits(row, text, longest):
    return len(row) == len(text) or (len(row) > len(text) == longest)


def _signature(example, of_tokens):
    """Batch size and length vary; other sizes of labels do not."""

    def spec(array, varying):
        return tf.TensorSpec((None, None) if varying else (None, *array.shape[1:]), array.dtype)

    x, *labels = example if isinstance(example, tuple) else (example,)
    inputs = {name: spec(array, True) for name, array in x.items()}
    return (inputs, spec(labels[0], of_tokens)) if labels else inputs
