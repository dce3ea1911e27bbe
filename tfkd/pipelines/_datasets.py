"""Training data from npz files, folders of images or TFRecord files, decoded as they are needed."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from typing_extensions import Self

from generators._picture_files import pictures_in
from tfkd._core.checks import check_number
from tfkd.pipelines._examples import Examples, load_examples, load_inputs
from tfkd.pipelines._image_files import ImageReader, folder_of_classes
from tfkd.pipelines._tf_records import Records, labels_in, records_in
from tfkd.schemes._epoch_data import EpochSeed, shuffled
from tfkd.tasks import Classification, Task

Source = str | os.PathLike | np.ndarray | tuple[np.ndarray, np.ndarray]

# How many records of TFRecord files are held to be shuffled, still encoded.
_SHUFFLED_RECORDS = 10_000


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Examples that are decoded as they are needed, each time in the same order unless it is shuffled.

    Args:
        records: what is cheap to hold: numbers of examples, or encoded ones.
        decode: makes of a record the float32 input, or that and its label.
        count: how many there are.
        buffer: how many records are held to be shuffled.
        called: what messages call the record of a number.
        class_names: names of the classes in their order, where the source has them.
    """

    records: tf.data.Dataset
    decode: Callable[[Any], Any]
    count: int
    buffer: int
    called: Callable[[int], str]
    class_names: list[str] | None = None

    def examples(self) -> tf.data.Dataset:
        """One after another, in order."""
        decoded = self.records.map(self.decode, num_parallel_calls=tf.data.AUTOTUNE)
        return decoded.apply(tf.data.experimental.assert_cardinality(self.count))

    def batches(self, size: int) -> tf.data.Dataset:
        """In order."""
        return _shared(self.examples().batch(size))

    def shuffled_batches(self, size: int, seeds: EpochSeed) -> tf.data.Dataset:
        """In an order that follows from the epoch's number, so that a resumed run has the same.

        Args:
            size: examples in a batch; the last has what is left.
            seeds: the callback that knows the epoch, which `fit` is to be given, too.
        """
        order = seeds.dataset(lambda seed: shuffled(self.records, self.buffer, seed))
        batches = order.map(self.decode, num_parallel_calls=tf.data.AUTOTUNE).batch(size)
        # Progress bars and schedules want to know how long an epoch is.
        known = tf.data.experimental.assert_cardinality(-(-self.count // size))
        return _shared(batches.apply(known))

    def split(self, share: float, seed: int) -> tuple[Self, Self]:
        """Examples to learn from, and a share of all that is held out, drawn by a seed.

        Raises:
            ValueError: if the share is not between 0 and 1, or one of both would be empty.
        """
        check_number("validation_split", share, above=0, below=1)
        held_out = max(1, round(share * self.count))
        if held_out >= self.count:
            raise ValueError(
                f"`validation_split`={share!r} of {self.count} examples leaves none to learn from. Give "
                "more `training_data`, or a smaller share."
            )
        drawn = np.zeros(self.count, bool)
        drawn[np.random.default_rng(seed).permutation(self.count)[:held_out]] = True
        return self._only(~drawn), self._only(drawn)

    def unreadable(self) -> int | None:
        """The number of the first record that cannot be decoded, or None."""
        for number, record in enumerate(self.records):
            try:
                self.decode(record)
            except tf.errors.InvalidArgumentError:
                return number
        return None

    def _only(self, chosen):
        mask: Any = tf.constant(chosen)
        numbered: Any = self.records.enumerate()
        records = numbered.filter(lambda number, _: tf.gather(mask, number)).map(lambda _, record: record)
        return dataclasses.replace(self, records=records, count=int(chosen.sum()))

    def sample(self, most: int, seed: int) -> Examples:
        """Up to so many examples as arrays, drawn by a seed."""
        some = self
        if most < self.count:
            drawn = np.zeros(self.count, bool)
            drawn[np.random.default_rng(seed).permutation(self.count)[:most]] = True
            some = self._only(drawn)
        (arrays,) = some.examples().batch(some.count).as_numpy_iterator()
        x, y = arrays
        return x, y


def _shared(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Batches that are made ahead of time, and of which each of several workers takes its part.

    Files are not divided among them: what is held out is known by its number among all examples.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


@contextlib.contextmanager
def readable(**sources: TrainingData | None) -> Iterator[None]:
    """Has an image that cannot be decoded, met anywhere in the block, be an error that names it.

    Args:
        **sources: what the block reads, by argument.

    Raises:
        ValueError: for the first such image.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        for argument, data in sources.items():
            number = None if data is None else data.unreadable()
            if data is not None and number is not None:
                raise ValueError(
                    f"`{argument}`: {data.called(number)} cannot be decoded as an image. Save it again, or "
                    "take it away."
                ) from None
        raise error


def load_data(
    source: Any,
    model: keras.Model,
    task: Task,
    part: str,
    argument: str,
    names: Sequence[str] | None = None,
) -> TrainingData:
    """Examples with labels, as a model takes them.

    Args:
        source: `(inputs, labels)`, or an npz file, as of `load_examples`; a folder with a folder of PNG,
            JPEG, GIF or BMP images for each class; or a
            TFRecord file, or a pattern of such files as of `glob`. Records are `tf.train.Example`s with
            "image" or "image/encoded", an encoded image, and "label" or "image/class/label", its class
            number. Images are brought to the model's size and to [0, 1].
        model: takes the inputs.
        task: what labels mean.
        part: "train" or "test", of the arrays in an npz file.
        argument: what messages call the examples.
        names: of the classes; folders are in this order if they are named so, else sorted by name.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if there is nothing in it, images cannot be brought to what the model takes, or labels
            are not of the model's classes.
    """
    what = f"`{argument}`"
    if not _holds_images(source):
        x, y = load_examples(source, model, part, argument)
        return _of_arrays(x, y)
    path = os.fspath(source)
    if not isinstance(task, Classification):
        raise ValueError(
            f"{what}: {path!r} has a class for each image, and the network is of the task {task.name!r}. "
            "Give an npz file."
        )
    reader = ImageReader(model, what)
    if os.path.isdir(path):
        files, labels, folders = folder_of_classes(path, what, names)
        _check_classes(labels, task, f"{what}: {path!r}", folders)
        return _of_files(files, reader, labels, folders)
    records = records_in(path, what, labelled=True)
    _check_classes(labels_in(records, what), task, f"{what}: {path!r}")

    def decode(record):
        image, label = records.parse(record)
        return reader(image), label

    return _of_records(records, decode)


def load_unlabelled(source: Any, model: keras.Model, argument: str) -> TrainingData:
    """Inputs without labels, as a model takes them.

    Args:
        source: inputs `(n, ...)`, or an npz file with `x_train`; a folder with images, however deep; or
            TFRecord files with images, as of `load_data`. Labels in them are not looked at.
        model: takes the inputs.
        argument: what messages call them.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ValueError: if there is nothing in it, or images cannot be brought to what the model takes.
    """
    what = f"`{argument}`"
    if not _holds_images(source):
        return _of_arrays(load_inputs(source, model, argument))
    path, reader = os.fspath(source), ImageReader(model, what)
    if os.path.isdir(path):
        return _of_files(pictures_in(path, what), reader)
    records = records_in(path, what, labelled=False)
    return _of_records(records, lambda record: reader(next(iter(records.parse(record)))))


def _holds_images(source):
    return isinstance(source, (str, os.PathLike)) and not os.fspath(source).endswith(".npz")


def _of_arrays(x: np.ndarray, y: np.ndarray | None = None) -> TrainingData:
    with tf.device("CPU"):
        held = keras.tree.map_structure(tf.constant, x if y is None else (x, y))

    def decode(number):
        return keras.tree.map_structure(lambda array: tf.gather(array, number), held)

    count = len(x)
    return TrainingData(tf.data.Dataset.range(count), decode, count, count, "example {}".format)


def _of_files(
    files: Sequence[str],
    reader: ImageReader,
    labels: np.ndarray | None = None,
    names: list[str] | None = None,
) -> TrainingData:
    paths = tf.constant(files)

    def decode(number):
        image = reader(tf.io.read_file(tf.gather(paths, number)))
        return image if labels is None else (image, tf.gather(tf.constant(labels), number))

    count = len(files)
    return TrainingData(
        tf.data.Dataset.range(count), decode, count, count, lambda number: repr(files[number]), names
    )


def _of_records(records: Records, decode: Callable[[Any], Any]) -> TrainingData:
    where = records.files[0] if len(records.files) == 1 else f"{len(records.files)} files, read in turns"
    return TrainingData(
        records.dataset,
        decode,
        records.count,
        min(records.count, _SHUFFLED_RECORDS),
        lambda number: f"record {number} of {where}",
    )


def _check_classes(labels, task, what, names=None):
    """Raises ValueError for labels that are not the network's classes."""
    if names is not None and len(names) != task.classes:
        raise ValueError(
            f"{what} has {len(names)} folders, and the network tells {task.classes} classes apart. There "
            "must be a folder for each class, in the order of its classes. Received: "
            f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
        )
    task.check_labels(labels, len(labels), f"the labels of {what}")
