"""What a noisy student learns from: labelled and pseudo-labelled examples in one batch, inputs noised."""

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
    """How batches are put together.

    Args:
        batch_size: labelled examples in a batch.
        ratio: how many pseudo-labelled ones come with each of them.
        buffer: examples that a shuffle holds.
        augment: a function of an input and an int32 seed `(2,)`, or None.
    """

    batch_size: int
    ratio: int
    buffer: int
    augment: Callable[[Any, Any], Any] | None

    def labelled(self, examples: tf.data.Dataset, count: int, seeds: EpochSeed) -> tf.data.Dataset:
        """Batches of labelled examples alone; in an epoch each is there at least once."""
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
        """Batches of both; in an epoch each example is there at least once, the fewer ones are repeated."""
        few, many = self.batch_size, self.ratio * self.batch_size
        steps = max(-(-count // few), -(-pseudo_count // many))

        def epoch(seed):
            ours = endless(labelled, self.buffer, fold(seed, 0)).batch(few)
            theirs = endless(pseudo, self.buffer, fold(seed, 1)).batch(many)
            return tf.data.Dataset.zip(ours, theirs).map(_joined)

        return self._batches(epoch, steps, few + many, seeds)

    def _batches(self, epoch, steps, size, seeds):
        """So many batches of an epoch's, with noise that follows from its seed and the example's place."""

        def seeded(seed):
            examples = epoch(fold(seed, 0)).take(steps).unbatch()
            return examples.enumerate().map(lambda place, each: (fold(fold(seed, 1), place), each))

        noised = seeds.dataset(seeded).map(self._noised, num_parallel_calls=tf.data.AUTOTUNE)
        batches = noised.batch(size, drop_remainder=True)
        # Progress bars and schedules want to know how long an epoch is.
        return batches.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(tf.data.AUTOTUNE)

    def _noised(self, seed, example):
        """An example whose inputs are changed, and nothing that they carry."""
        x, y = example
        if self.augment is None:
            return x, y
        augment = self.augment
        return caching.with_inputs_changed(x, lambda inputs: augment(inputs, seed)), y


@dataclasses.dataclass(frozen=True)
class Examples:
    """The labelled examples, and the inputs without labels if there are some, in batches as they came.

    Args:
        task: what labels mean.
        labelled: `(x, y)`, `y` float32 `(batch, classes)`.
        count: how many labelled examples there are.
        unlabelled: `x`, or None.
    """

    task: ClassTask
    labelled: tf.data.Dataset
    count: int
    unlabelled: tf.data.Dataset | None = None

    def with_unlabelled(self, data: Any) -> "Examples":
        """With inputs that have no labels.

        Raises:
            ValueError: if there are none, or they are not like the labelled ones.
        """
        if data is None:
            raise ValueError(
                "`unlabelled` is missing. Give inputs without labels, or a tfkd.datafree recipe."
            )
        inputs = as_batches(data, "unlabelled").map(inputs_alone)
        if next(iter(inputs), None) is None:
            raise ValueError(
                "`unlabelled` is empty. Give inputs without labels, or a tfkd.datafree recipe."
            )
        labelled: Any = self.labelled.element_spec
        ours, theirs = _one(labelled[0]), _one(inputs.element_spec)
        if ours != theirs:
            raise ValueError(
                f"`unlabelled` inputs must be like the labelled ones, {ours}. Received: {theirs}. Bring "
                "both to one shape and dtype."
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
            teacher: gives the pseudo-labels.
            mixing: how batches are put together.
            seeds: what order and noise follow from.
            hard: as for `pseudo_labels`.
            least: likewise.
            per_class: likewise.
            taps: of the teacher, to be carried.
            carry: whether the teacher's answers to the clean inputs come with the inputs.
            path: folder for its answers, or None.

        Returns:
            The data set, and how many pseudo-labelled examples there are.
        """
        assert self.unlabelled is not None
        task, count = self.task, self.count

        def without_labels(x):
            return x, tf.zeros((tf.shape(keras.tree.flatten(x)[0])[0], task.classes))

        everything = self.labelled.concatenate(self.unlabelled.map(without_labels))
        # Alike, so that the teacher is traced once.
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
    """Labelled examples, looked through once.

    Args:
        data: `(x, y)`, or a data set of batches `(x, y)`.
        task: what labels mean.

    Raises:
        ValueError: if there are none, or labels are not of the task.
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
    """Labels as float32 rows `(batch, classes)`, one-hot where they were classes."""
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
