"""TFRecord files of images: counting, checking and parsing."""

import dataclasses
import glob
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfkd._core import untrusted

_IMAGES, _LABELS = ("image", "image/encoded"), ("label", "image/class/label")
# Length and its checksum before each record, the record's checksum after it.
_HEADER, _FOOTER = 12, 4
_LARGEST_RECORD = 2**28
_FILES_AT_ONCE = 16
_PARSED_AT_ONCE = 1024


@dataclasses.dataclass(frozen=True)
class Records:
    """The records of TFRecord files.

    Args:
        dataset: the records as strings, always in the same order.
        count: number of records.
        parse: turns a record into its encoded image, and its label if there is one.
        files: the files they are read from.
    """

    dataset: tf.data.Dataset
    count: int
    parse: Callable[[Any], tuple]
    files: list[str]


def records_in(pattern: str, what: str, labelled: bool) -> Records:
    """The records of a file, or of all files that match a pattern.

    The files are untrusted: lengths are checked before anything is read.

    Args:
        pattern: a path or `glob` pattern.
        what: the argument, for messages.
        labelled: whether each record must have a label.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if a file is not a TFRecord file, there are no records, or the first one lacks a
            required feature.
    """
    # A file name may look like a pattern.
    files = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
    if not files:
        raise FileNotFoundError(f"{what}: the file {pattern!r} does not exist.")
    count = sum(_count(path, f"{what}: {path!r}") for path in files)
    if not count:
        raise ValueError(f"{what}: {pattern!r} contains no records.")
    # Files often contain one class after another.
    dataset = tf.data.Dataset.from_tensor_slices(files).interleave(
        tf.data.TFRecordDataset, cycle_length=min(len(files), _FILES_AT_ONCE)
    )
    kinds = _features(dataset, f"{what}: {pattern!r}", labelled)

    def parse(record):
        features = tf.io.parse_single_example(
            record, {name: tf.io.FixedLenFeature((), kind) for name, kind in kinds.items()}
        )
        return tuple(features[name] for name in kinds)

    return Records(dataset, count, parse, files)


def labels_in(records: Records, what: str) -> np.ndarray:
    """The labels of all records; reads the files once.

    Raises:
        ValueError: if a record is damaged, or has other features than the first.
    """
    labels = records.dataset.map(lambda record: records.parse(record)[1]).batch(_PARSED_AT_ONCE)
    try:
        return np.concatenate(list(labels.as_numpy_iterator()))
    except tf.errors.OpError as error:
        raise untrusted.refusal(
            f"{what}: {records.files[0]!r}", f"or another of its files has a bad record: {error.message}"
        ) from None


def _count(path, what):
    """The number of records, from their lengths alone."""
    count, size = 0, os.path.getsize(path)
    with open(path, "rb") as file:
        place = 0
        while place < size:
            length = int.from_bytes(file.read(_HEADER)[:8], "little")
            place += _HEADER + length + _FOOTER
            if place > size or length > _LARGEST_RECORD:
                raise untrusted.refusal(
                    what,
                    f"is not a TFRecord file, or is damaged or compressed: record {count} would have "
                    f"{length:,} bytes.",
                    "Write it with tf.io.TFRecordWriter(path).",
                )
            file.seek(place)
            count += 1
    return count


def _features(dataset, what, labelled):
    """Names and types of the features to read, from the first record."""
    try:
        first = next(iter(dataset.take(1))).numpy()
        found = sorted(tf.train.Example.FromString(first).features.feature)
    except Exception as error:
        # An error of the protobuf library, which has no public class.
        raise untrusted.refusal(what, f"contains no tf.train.Example: {error}") from None
    kinds = {}
    wanted = [(_IMAGES, tf.string), (_LABELS, tf.int64)][: 2 if labelled else 1]
    for names, kind in wanted:
        there = [name for name in names if name in found]
        if not there:
            either = " or ".join(map(repr, names))
            raise ValueError(
                f"{what}: records must have the feature {either}, "
                f"{'an encoded image' if kind == tf.string else 'a class index'}. Received: "
                f"{', '.join(map(repr, found[:12])) or 'none'}."
            )
        kinds[there[0]] = kind
    return kinds
