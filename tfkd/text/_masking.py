"""Random masking for masked language models, different in each epoch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfkd._core.checks import check_int, check_number
from tfkd.schemes._epoch_data import EpochSeed, fold

_IGNORED = -100


def mask_tokens(
    tokenizer: Any,
    probability: float = 0.15,
    mask: float = 0.8,
    random: float = 0.1,
    seed: int | EpochSeed = 0,
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """Masks tokens at random, differently in each epoch, for masked language models.

    Special tokens and padding are never masked. Labels are the true tokens at chosen positions, and -100
    elsewhere, which every loss and metric in `tfkd` ignores.

    Args:
        tokenizer: a `tfkd.text.Tokenizer`, or an object with its `vocabulary`, `mask_id` and `special_ids`.
        probability: probability that a token is chosen, in (0, 1).
        mask: fraction of the chosen tokens that become the mask token, in [0, 1].
        random: fraction that become a random token; the rest is unchanged. `mask + random` is at most 1.
        seed: int seed of all choices, at least 0, one after another for each started epoch; or a
            `tfkd.text.EpochSeed`, which is also a callback for `fit`: with it, a resumed `fit` masks the
            same tokens as an uninterrupted one. It may be shared with `tfkd.text.batches`.

    Returns:
        A function for `tf.data.Dataset.apply`, from batches of inputs, alone or with labels, which are
        dropped, to a data set of `(inputs, labels)`.

    Raises:
        ValueError: if a number is out of its range, or the tokenizer has no mask token.

    Example:
        >>> seeds = tfkd.text.EpochSeed((0, 0))
        >>> data = tfkd.text.batches(sentences, tokenizer=tokenizer, shuffle=True, seed=seeds)
        >>> data = data.apply(tfkd.text.mask_tokens(tokenizer, seed=seeds))
        >>> student = tfkd.text.DistilBERT().distil(teacher, data, callbacks=[seeds])

    Reference:
        Devlin et al., "BERT", 2019, for the fractions; Liu et al., "RoBERTa", 2019, for new masks in each
        epoch. Deviation: each token is chosen independently; BERT chooses a fixed number per sentence.
    """
    check_number("probability", probability, above=0, below=1)
    check_number("mask", mask, least=0, most=1)
    check_number("random", random, least=0, most=1 - mask)
    if tokenizer.mask_id is None:
        raise ValueError(
            "`tokenizer` has no mask token, so its model is not a masked language model. Use a BERT "
            "tokenizer, or tfkd.tasks.next_tokens for the labels of a causal language model."
        )
    seeds = seed if isinstance(seed, EpochSeed) else _Counting((check_int("seed", seed, least=0), 0))
    ids = np.arange(len(tokenizer.vocabulary), dtype="int32")
    special = np.isin(ids, list(tokenizer.special_ids))
    # Tokens may be replaced by any token that may be masked.
    words = ids[~special]

    def masked(inputs, seed):
        ids_of_batch = tf.cast(inputs["token_ids"], "int32")
        counts = ~tf.gather(tf.constant(special), ids_of_batch)
        if "padding_mask" in inputs:
            counts &= tf.cast(inputs["padding_mask"], "bool")
        shape = tf.concat([[3], tf.shape(ids_of_batch)], axis=0)
        chance, kind, other = tf.unstack(tf.random.stateless_uniform(shape, seed))
        chosen = counts & (chance < probability)
        place = tf.minimum(tf.cast(other * len(words), "int32"), len(words) - 1)
        replaced = tf.where(kind < mask + random, tf.gather(words, place), ids_of_batch)
        hidden = tf.where(kind < mask, tokenizer.mask_id, replaced)
        made = {**inputs, "token_ids": tf.where(chosen, hidden, ids_of_batch)}
        return made, tf.where(chosen, ids_of_batch, _IGNORED)

    def apply(dataset: tf.data.Dataset) -> tf.data.Dataset:
        def of_epoch(seed):
            inputs = dataset.map(lambda *batch: batch[0])
            return inputs.enumerate().map(lambda number, x: masked(x, fold(seed, number)))

        made = seeds.dataset(of_epoch)
        return made.apply(tf.data.experimental.assert_cardinality(dataset.cardinality()))

    return apply


class _Counting(EpochSeed):
    """Counts each iteration as an epoch, since the epoch is not known."""

    @property
    def epoch(self) -> int:
        """The number of earlier iterations."""
        self._begun += 1
        return self._begun - 1

    @epoch.setter
    def epoch(self, number: int) -> None:
        self._begun = number
