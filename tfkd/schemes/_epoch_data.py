"""Data sets whose order and noise are determined by a seed and the epoch."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


class EpochSeed(keras.callbacks.Callback):
    """Gives every epoch its own seed, so that a resumed run sees the same data.

    The shuffling of `tf.data` depends on a state that no backup contains. Here an epoch's data set is
    created from its seed, which is a function of `seed` and the epoch's number.

    Args:
        seed: two ints.

    Example:
        >>> seeds = EpochSeed((0, 1))
        >>> data = seeds.dataset(lambda seed: shuffled(examples, 1000, seed).batch(32))
        >>> model.fit(data, epochs=3, callbacks=[seeds])
    """

    def __init__(self, seed: tuple[int, int]) -> None:
        super().__init__()
        self.seed, self.epoch = seed, 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        # `fit` creates an epoch's iterator after this.
        self.epoch = epoch

    def dataset(self, make: Callable[[Any], tf.data.Dataset]) -> tf.data.Dataset:
        """A data set that, each time it is iterated, is the result of `make` for the epoch's seed."""

        def of_this_epoch(_):
            epoch = tf.numpy_function(lambda: np.int32(self.epoch), [], tf.int32)
            return make(fold(tf.constant(self.seed, "int32"), tf.ensure_shape(epoch, ())))

        return tf.data.Dataset.from_tensors(0).flat_map(of_this_epoch)


def fold(seed, number):
    """A seed, int32 `(2,)`, derived from another seed and a number."""
    return tf.random.fold_in(seed, tf.cast(number, "int32"))


def shuffled(dataset: tf.data.Dataset, buffer: int, seed) -> tf.data.Dataset:
    """Shuffles a data set by a seed, int32 `(2,)`, inside a function of another data set."""
    # Otherwise the order would also depend on TensorFlow's global seed.
    tf.compat.v1.get_default_graph().seed = 1
    drawn: Any = tf.random.stateless_uniform((), seed, 0, 2**62, dtype="int64")
    return dataset.shuffle(buffer, seed=drawn, reshuffle_each_iteration=False)


def endless(dataset: tf.data.Dataset, buffer: int, seed) -> tf.data.Dataset:
    """Repeats a data set endlessly, each time in a different order."""
    times = tf.data.Dataset.counter()
    return times.flat_map(lambda time: shuffled(dataset, buffer, fold(seed, time)))
