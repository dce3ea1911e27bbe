"""Caches teacher outputs: computes them once and carries them with the examples."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from tfkd._core.checks import check_int
from tfkd._core.keras_versions import check_keras_3
from tfkd.distilling._cached_batch import INDEX, INPUTS, unpack, with_inputs_changed
from tfkd.distilling._compatibility import ends_in_probabilities
from tfkd.distilling._packing import check_compress
from tfkd.distilling._teacher_cache import TeacherCache

# The teacher's batch size for a data set of single examples.
_BATCH = 256


def with_index(dataset: tf.data.Dataset, batched: bool = True) -> tf.data.Dataset:
    """Adds to every example its index in the data set, which some losses need.

    Shuffle only afterwards; otherwise the indices belong to different examples in every epoch.

    Args:
        dataset: yields `x`, `(x, y)` or `(x, y, sample_weight)`, always in the same order.
        batched: whether its elements are batches.

    Returns:
        A data set with the same elements for `Distiller.fit`, with the indices added to `x`.

    Raises:
        TypeError: if it is not a `tf.data.Dataset`.

    Example:
        >>> examples = tf.data.Dataset.from_tensor_slices((x, y))
        >>> dataset = tfkd.with_index(examples, batched=False).shuffle(60000).batch(128)
    """
    _check_dataset(dataset)

    def place(first, element):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(element)
        size = tf.shape(tree.flatten(x)[0], out_type="int64")[0] if batched else tf.constant(1, "int64")
        index = first + tf.range(size) if batched else first
        return first + size, keras.utils.pack_x_y_sample_weight({INPUTS: x, INDEX: index}, y, sample_weight)

    placed = dataset.scan(tf.constant(0, "int64"), place)
    # Keras uses the cardinality, which `scan` drops.
    length = int(dataset.cardinality())
    return placed.apply(tf.data.experimental.assert_cardinality(length)) if length >= 0 else placed


def cache_teacher(
    dataset: tf.data.Dataset,
    teacher: keras.Model,
    taps: Sequence[str] = (),
    path: str | os.PathLike | None = None,
    batched: bool = True,
    compress: int | str | None = None,
    temperature: float = 1.0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Runs the teacher once over a data set and carries its outputs with the examples.

    A `tfkd.Distiller` that trains on the result does not run the teacher. Outputs are looked up by the
    example's index in the data set and stay with it, so shuffle (and batch again) afterwards. Each input is
    compared with the one its outputs were computed from, so a data set that changes between epochs, by
    shuffling or augmentation before this call, is rejected. Augment afterwards with `map_inputs`; the
    teacher's outputs are then still those for the original inputs.

    Batches of tokens may be padded to different lengths: after the tokens, with zeros or as an input named
    `padding_mask` shows. Outputs are stored at the length at which they were computed, and adjusted to that
    of each batch; their token masks are kept. `cached.unbatch().shuffle(n).padded_batch(32)`, or
    `bucket_by_sequence_length`, pads inputs and outputs alike.

    The data set is read once to run the teacher; if all outputs are at `path` already, only its first batch
    is read. Training reads the inputs from the data set, and the outputs from the cache. With a `path`,
    memory holds two shards of outputs, each with at most 8,192 examples or 32 MiB.

    Args:
        dataset: yields `x`, `(x, y)` or `(x, y, sample_weight)`, always the same in the same order.
        teacher: a trained model; it is run in inference mode.
        taps: taps of the teacher to store besides its output, for losses with a `teacher_layer`.
        path: a folder for the outputs, which are stored in shards: an npz file for each, and `index.json`.
            An interrupted computation continues at the first missing shard. A finished one is reused if the
            teacher, the taps, `compress` and the inputs are the same. None keeps the outputs in memory.
        batched: whether the elements of `dataset` are batches.
        compress: how floating-point outputs are stored. None: exactly. "float16": outputs and taps in
            float16, clipped at 65,504; half the bytes, three digits. A number of classes, such as 32: for
            each output the largest logits in float16, and one value for all others that preserves their
            total probability; taps in float16. 32 of 1000 classes take 1/28 of the bytes. Differences
            between the other classes are lost. This matters little if the teacher is confident, and more
            if it is not or at a high temperature; see docs/large_data.md for figures.
        temperature: the temperature of the losses, used with a number of classes. The total probability of
            the other classes is exact only at this temperature.
        shard: the index of this worker, from 0, and the number of workers, such as `(0, 4)`. All workers
            make this call with the same data set and `path`. Worker 0 of 4 computes shards 0, 4, 8 and so
            on, and its data set has only their examples; `tf.distribute` does not split it further.

    Returns:
        A data set of the same elements for `Distiller.fit`.

    Raises:
        TypeError: if `dataset` is not a `tf.data.Dataset`, or the teacher is a tf_keras model.
        ValueError: if the data set is infinite or empty, the teacher has no such layer, an option is out of
            range, `compress` is a number and the teacher returns probabilities, or the cache at `path` is
            damaged or was made by another teacher, with other options or for other examples. Iterating the
            result raises `tf.errors.InvalidArgumentError` if the examples differ from those of the first
            time.

    Warns:
        UserWarning: if `compress` is a number and more than 1 % of the soft-target loss is lost on the
            first batch: KL(teacher || stored) divided by KL(teacher || equal probabilities).

    Example:
        >>> examples = tf.data.Dataset.from_tensor_slices((x, y)).batch(256)
        >>> cached = tfkd.cache_teacher(examples, teacher, path="cache", compress="float16")
        >>> distiller.fit(cached.unbatch().shuffle(60000).batch(128), epochs=10)

    Reference:
        Shen, Xing, "A Fast Knowledge Distillation Framework for Visual Recognition", 2022: the largest
        probabilities, and the rest spread evenly ("marginal smoothing"). Deviation: logits are stored.
    """
    _check_dataset(dataset)
    check_keras_3("teacher", teacher)
    compress = check_compress(compress, temperature)
    share = _checked_share(shard)
    if isinstance(compress, int) and ends_in_probabilities(teacher):
        raise ValueError(
            f"`compress` keeps the largest logits, but {teacher.name!r} ends in a softmax or sigmoid. "
            'tfkd.load_teacher(teacher) makes a teacher that returns logits; or use "float16".'
        )
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`dataset` must be finite. Received: an infinite one. Call cache_teacher before repeat()."
        )
    places = with_index(dataset, batched)
    examples = places.map(lambda *element: _inputs_and_index(element))
    examples = examples if batched else _batched(examples)
    cache = TeacherCache(examples, teacher, tuple(taps), path, compress, temperature, share)
    if share[1] > 1 and batched:
        places = places.map(cache.own).filter(_has_examples)
    elif share[1] > 1:
        places = places.filter(lambda *element: cache.owns(element[0][INDEX]))
    return _divided_by_examples(places.map(cache.join if batched else cache.join_one), share[1])


def _has_examples(*element):
    return tf.size(element[0][INDEX]) > 0


def _divided_by_examples(dataset, workers):
    """Keeps `tf.distribute` from splitting a data set by files, since examples have indices in it."""
    options, policies = tf.data.Options(), tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = policies.DATA if workers == 1 else policies.OFF
    return dataset.with_options(options)


def _checked_share(shard):
    """The index of a worker and the number of workers; raises ValueError if invalid."""
    if not isinstance(shard, tuple | list) or len(shard) != 2:
        raise ValueError(
            "`shard` must be a pair: the index of this worker, from 0, and the number of workers, such as "
            f"(0, 2). Received: {shard!r}."
        )
    workers = check_int("shard[1]", shard[1])
    return check_int("shard[0]", shard[0], least=0, most=workers - 1), workers


def _inputs_and_index(element):
    x, _, _ = keras.utils.unpack_x_y_sample_weight(element[0] if len(element) == 1 else element)
    batch = unpack(x)
    return batch.inputs, batch.index


def _batched(examples):
    """Single examples in batches; rows of tokens are padded to the longest in the batch."""
    shapes = [spec.shape for spec in tree.flatten(examples.element_spec)]
    of_tokens = any(shape.rank == 1 and shape[0] is None for shape in shapes)
    return examples.padded_batch(_BATCH) if of_tokens else examples.batch(_BATCH)


def map_inputs(dataset: tf.data.Dataset, function: Callable[[Any], Any]) -> tf.data.Dataset:
    """Applies a function to the inputs of a data set; labels, weights and teacher outputs do not change.

    Use it to augment a data set from `cache_teacher` or `with_index`, whose elements hold more than inputs.

    Args:
        dataset: yields `x`, `(x, y)` or `(x, y, sample_weight)`, batches or single examples, where `x` may
            carry a teacher's outputs.
        function: a function from inputs to inputs, called as by `tf.data.Dataset.map`.

    Returns:
        A data set of the same form.

    Raises:
        TypeError: if `dataset` is not a `tf.data.Dataset`.

    Example:
        >>> cached = tfkd.cache_teacher(examples, teacher).unbatch().shuffle(60000).batch(128)
        >>> distiller.fit(tfkd.map_inputs(cached, tf.image.random_flip_left_right), epochs=10)
    """
    _check_dataset(dataset)

    def changed(*element):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
            element[0] if len(element) == 1 else element
        )
        return keras.utils.pack_x_y_sample_weight(with_inputs_changed(x, function), y, sample_weight)

    return dataset.map(changed, num_parallel_calls=tf.data.AUTOTUNE)


def _check_dataset(dataset):
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            f"`dataset` must be a tf.data.Dataset. Received: {dataset!r} of type {type(dataset)}. Convert "
            "arrays with tf.data.Dataset.from_tensor_slices((x, y)).batch(256)."
        )
