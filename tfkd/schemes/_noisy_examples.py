"""Training data of a noisy student: labelled and pseudo-labelled examples with noise."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfkd.distilling import _caching as caching
from tfkd.distilling import cache_teacher
from tfkd.losses._labels import one_hot_labels
from tfkd.schemes._epoch_data import EpochSeed, endless, fold
from tfkd.schemes._pseudo_labels import (
    BATCH,
    as_batches,
    inputs_alone,
    judged,
    labels_of,
    repeated,
    repetitions,
)
from tfkd.tasks import ClassTask


@dataclasses.dataclass(frozen=True)
class Mixing:
    """How batches are composed.

    Args:
        batch_size: number of labelled examples in a batch.
        ratio: number of pseudo-labelled examples per labelled one.
        buffer: size of the shuffle buffer, in examples.
        augment: a function of an input and an int32 seed `(2,)`, or None.
    """

    batch_size: int
    ratio: int
    buffer: int
    augment: Callable[[Any, Any], Any] | None

    def labelled(self, examples: tf.data.Dataset, count: int, seeds: EpochSeed) -> tf.data.Dataset:
        """Batches of labelled examples alone; an epoch contains each at least once."""
        steps = -(-count // self.batch_size)

        def epoch(seed):
            return endless(examples, self.buffer, seed).batch(self.batch_size)

        return self._batches(epoch, steps, self.batch_size, seeds)

    def both(
        self,
        labelled: tf.data.Dataset,
        count: int,
        pseudo: tf.data.Dataset,
        pseudo_count: int,
        seeds: EpochSeed,
    ) -> tf.data.Dataset:
        """Batches of both; an epoch has each example at least once and repeats the smaller set."""
        few, many = self.batch_size, self.ratio * self.batch_size
        steps = max(-(-count // few), -(-pseudo_count // many))

        def epoch(seed):
            ours = endless(labelled, self.buffer, fold(seed, 0)).batch(few)
            theirs = endless(pseudo, self.buffer, fold(seed, 1)).batch(many)
            return tf.data.Dataset.zip(ours, theirs).map(_joined)

        return self._batches(epoch, steps, few + many, seeds)

    def _batches(self, epoch, steps, size, seeds):
        """`steps` batches of an epoch, with noise seeded by the epoch and the example's position."""

        def seeded(seed):
            examples = epoch(fold(seed, 0)).take(steps).unbatch()
            return examples.enumerate().map(lambda place, each: (fold(fold(seed, 1), place), each))

        noised = seeds.dataset(seeded).map(self._noised, num_parallel_calls=tf.data.AUTOTUNE)
        batches = noised.batch(size, drop_remainder=True)
        # Progress bars and schedules need the length of an epoch.
        return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)

    def _noised(self, seed, example):
        """An example with noise on its inputs only, not on the labels stored with them."""
        x, y = example
        if self.augment is None:
            return x, y
        augment = self.augment
        return caching.with_inputs_changed(x, lambda inputs: augment(inputs, seed)), y


@dataclasses.dataclass(frozen=True)
class Examples:
    """The labelled examples, and any unlabelled inputs, in their original batches.

    Args:
        task: the task, which defines the labels.
        labelled: `(x, y)`, `y` float32 `(batch, classes)`.
        count: number of labelled examples.
        unlabelled: `x`, or None.
    """

    task: ClassTask
    labelled: tf.data.Dataset
    count: int
    unlabelled: tf.data.Dataset | None = None

    def with_unlabelled(self, data: Any) -> "Examples":
        """Adds unlabelled inputs.

        Raises:
            ValueError: if there are none, or their shape or dtype differs from the labelled ones.
        """
        if data is None:
            raise ValueError("`unlabelled` is missing. Give unlabelled inputs, or a tfkd.datafree recipe.")
        inputs = as_batches(data, "unlabelled").map(inputs_alone)
        if next(iter(inputs), None) is None:
            raise ValueError("`unlabelled` is empty. Give unlabelled inputs, or a tfkd.datafree recipe.")
        labelled: Any = self.labelled.element_spec
        ours, theirs = _one(labelled[0]), _one(inputs.element_spec)
        if ours != theirs:
            raise ValueError(
                f"`unlabelled` inputs must match the labelled ones, {ours}. Received: {theirs}. Convert "
                "both to the same shape and dtype."
            )
        return dataclasses.replace(self, unlabelled=inputs)

    def labelled_alone(self, mixing: Mixing, seeds: EpochSeed) -> tf.data.Dataset:
        """Batches of the labelled examples, for `fit`."""
        return mixing.labelled(self.labelled.unbatch(), self.count, seeds)

    def pseudo_labelled(
        self,
        teacher: keras.Model,
        mixing: Mixing,
        seeds: EpochSeed,
        hard: bool,
        least: float | None,
        per_class: int | None,
        taps: list[str],
        carry: bool,
        path: str | os.PathLike | None,
    ) -> tuple[tf.data.Dataset, int]:
        """Batches of labelled and pseudo-labelled examples, for `fit`.

        Args:
            teacher: the network that gives the pseudo-labels.
            mixing: how batches are composed.
            seeds: seeds of order and noise.
            hard: as for `pseudo_labels`.
            least: as for `pseudo_labels`.
            per_class: as for `pseudo_labels`.
            taps: taps of the teacher to carry along.
            carry: whether the teacher's outputs for the clean inputs come with the inputs.
            path: folder for its outputs, or None.

        Returns:
            The data set, and the number of pseudo-labelled examples.
        """
        assert self.unlabelled is not None
        task, count = self.task, self.count

        def without_labels(x):
            return x, tf.zeros((tf.shape(keras.tree.flatten(x)[0])[0], task.classes))

        everything = self.labelled.concatenate(self.unlabelled.map(without_labels))
        # The same for both, so that the teacher is traced once.
        cached = cache_teacher(everything.rebatch(BATCH), teacher, taps, path)
        confidence, groups = judged(cached, task)
        times = repetitions(confidence[count:], groups[count:], task.groups, least, per_class, stacklevel=5)

        def lesson(x, y):
            batch = caching.unpack(x)
            known = (batch.index < count)[:, None]
            y = tf.where(known, y, labels_of(task, batch.output, hard))
            return (x if carry else batch.inputs), y

        labelled = cached.map(lesson).unbatch().take(count)
        of_all = np.concatenate([np.zeros(count, "int64"), times])
        pseudo = repeated(cached, of_all).map(lesson).unbatch()
        return mixing.both(labelled, count, pseudo, int(times.sum()), seeds), int(times.sum())


def labelled_examples(data: Any, task: ClassTask) -> Examples:
    """Labelled examples, checked in one pass.

    Args:
        data: `(x, y)`, or a data set of batches `(x, y)`.
        task: the task, which defines the labels.

    Raises:
        ValueError: if there are none, or labels do not match the task.
    """
    if isinstance(data, tf.data.Dataset):
        examples = data
    elif isinstance(data, tuple | list) and len(data) == 2:
        examples = as_batches(tuple(data), "labelled")
    else:
        raise ValueError(
            f"`labelled` must be inputs and labels (x, y), or a tf.data.Dataset of such batches. Received: "
            f"an object of type {type(data)}."
        )
    spec = examples.element_spec
    if not isinstance(spec, tuple) or len(spec) != 2:
        raise ValueError(f"`labelled` must have elements (x, y), without weights. Received: {spec}.")
    count = 0
    for y in examples.map(lambda x, y: y).as_numpy_iterator():
        if y.ndim == 1 or y.shape[-1] != task.classes:
            task.check_labels(y, len(y), "labels of `labelled`")
        count += len(y)
    if not count:
        raise ValueError("`labelled` is empty. Give at least one input with its label.")
    return Examples(task, examples.map(lambda x, y: (x, rows(y, task))), count)


def rows(y: Any, task: ClassTask) -> Any:
    """Labels as float32 rows `(batch, classes)`, one-hot if they were classes."""
    return one_hot_labels(y, tf.TensorSpec((None, task.classes)))


def validation_rows(data: Any, task: ClassTask) -> Any:
    """Validation data with labels as rows, in the form that `fit` takes."""
    if data is None:
        return None
    if isinstance(data, tf.data.Dataset):
        return data.map(lambda x, y, *weights: (x, rows(y, task), *weights))
    x, y, *weights = data
    return (x, np.asarray(rows(y, task)), *weights)


def _joined(few, many):
    return keras.tree.map_structure(lambda a, b: tf.concat([a, b], axis=0), few, many)


def _one(spec):
    """Shape and dtype of one example's inputs, in their structure."""
    return keras.tree.map_structure(lambda each: (tuple(each.shape[1:]), each.dtype.name), spec)
