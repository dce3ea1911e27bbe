"""Masked words as labels: which tokens a masked language model has to find, anew in each epoch."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.checks import check_int, check_number
from tfkd.schemes._epoch_data import fold

IGNORED = -100


class TokenMasking(keras.callbacks.Callback):
    """What `mask_tokens` returns: a function of data sets, and a callback that tells it the epoch."""

    def __init__(self, tokenizer: Any, probability: float, mask: float, random: float, seed: int) -> None:
        super().__init__()
        self.probability, self.mask, self.random, self.seed = probability, mask, random, seed
        # The number of the epoch as `fit` tells it; of the iteration where nobody does.
        self._epoch, self._told = -1, False
        self._mask_id, ids = tokenizer.mask_id, np.arange(len(tokenizer.vocabulary), dtype="int32")
        self._special = np.isin(ids, list(tokenizer.special_ids))
        # What a token may be replaced by.
        self._words = ids[~self._special]

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The data set with tokens hidden, and the labels that tell them.

        Args:
            dataset: of batches of inputs, alone or with labels, which are left out.

        Returns:
            A data set of `(inputs, labels)`.
        """

        def of_this_epoch(_):
            epoch = tf.ensure_shape(tf.numpy_function(self._begin, [], tf.int32), ())
            seed = fold((self.seed, 0), epoch)
            inputs = dataset.map(lambda *batch: batch[0])
            return inputs.enumerate().map(lambda number, x: self.masked(x, fold(seed, number)))

        made = tf.data.Dataset.from_tensors(0).flat_map(of_this_epoch)
        return made.apply(tf.data.experimental.assert_cardinality(dataset.cardinality()))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # `fit` makes an epoch's iterator after this.
        self._epoch, self._told = epoch, True

    def _begin(self):
        self._epoch += not self._told
        return np.int32(self._epoch)

    def masked(self, inputs: dict, seed) -> tuple[dict, Any]:
        """One batch's inputs, some of its tokens hidden, and the labels that tell them.

        Args:
            inputs: with `token_ids` int32 `(batch, tokens)` and, if there is padding, `padding_mask`.
            seed: int32 `(2,)`.

        Returns:
            The inputs and int32 labels `(batch, tokens)`.
        """
        ids = tf.cast(inputs["token_ids"], "int32")
        counts = ~tf.gather(tf.constant(self._special), ids)
        if "padding_mask" in inputs:
            counts &= tf.cast(inputs["padding_mask"], "bool")
        chance, kind, other = tf.unstack(tf.random.stateless_uniform((3, *tf.unstack(tf.shape(ids))), seed))
        chosen = counts & (chance < self.probability)
        labels = tf.where(chosen, ids, IGNORED)
        words = tf.constant(self._words)
        place = tf.cast(other * len(self._words), "int32")
        drawn = tf.gather(words, tf.minimum(place, len(self._words) - 1))
        hidden = tf.where(
            kind < self.mask, self._mask_id, tf.where(kind < self.mask + self.random, drawn, ids)
        )
        return {**inputs, "token_ids": tf.where(chosen, hidden, ids)}, labels


def mask_tokens(
    tokenizer: Any, probability: float = 0.15, mask: float = 0.8, random: float = 0.1, seed: int = 0
) -> TokenMasking:
    """Hides tokens at random, anew in each epoch, for masked language models.

    Special tokens and padding are never hidden. Labels are the true tokens where one was chosen, -100
    elsewhere, which every loss and metric of `tfkd` leaves out.

    Args:
        tokenizer: a `tfkd.text.Tokenizer`, or what has its `vocabulary`, `mask_id` and `special_ids`.
        probability: that a token is chosen, in (0, 1).
        mask: share of the chosen that become the mask token, in [0, 1].
        random: share of them that become another token; the rest stays as it is. `mask + random` is at
            most 1.
        seed: int that all choices follow from, at least 0.

    Returns:
        A function from a data set of batches to one of `(inputs, labels)`. It is a Keras callback, too:
        given to `fit`, it makes the tokens follow from the number of the epoch, so that an interrupted run
        resumes to the same weights. Without that they follow from how often the data set was iterated.

    Raises:
        ValueError: if a number is out of its range, or the tokenizer has no mask token.

    Example:
        >>> masking = tfkd.text.mask_tokens(tokenizer)
        >>> data = tfkd.text.batches(sentences, tokenizer=tokenizer).apply(masking)
        >>> student = tfkd.text.DistilBERT().distil(teacher, data, callbacks=[masking])

    Reference:
        Devlin et al., "BERT", 2019, for the shares; Liu et al., "RoBERTa", 2019, for new ones in each
        epoch. Deviation: each token is chosen by itself, where BERT chooses a fixed number in each
        sentence.
    """
    check_number("probability", probability, above=0, below=1)
    check_number("mask", mask, least=0, most=1)
    check_number("random", random, least=0, most=1 - mask)
    check_int("seed", seed, least=0)
    if tokenizer.mask_id is None:
        raise ValueError(
            "`tokenizer` has no mask token, so its model is not a masked language model. Use the tokenizer "
            "of a BERT, or tfkd.tasks.next_tokens for the labels of a causal language model."
        )
    return TokenMasking(tokenizer, probability, mask, random, seed)
