"""Training data from npz files, folders of images or TFRecord files, decoded on demand."""

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

# Size of the shuffle buffer of encoded TFRecord records.
_SHUFFLED_RECORDS = 10_000


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """Examples that are decoded on demand, in the same order every time unless shuffled.

    Args:
        records: a cheap form of the examples: indices, or encoded examples.
        decode: turns a record into a float32 input, or an input and its label.
        count: number of examples.
        buffer: size of the shuffle buffer.
        called: name of the record with a given index, for messages.
        class_names: names of the classes in order, if the source has them.
    """

    records: tf.data.Dataset
    decode: Callable[[Any], Any]
    count: int
    buffer: int
    called: Callable[[int], str]
    class_names: list[str] | None = None

    def examples(self) -> tf.data.Dataset:
        """All examples, one by one, in order."""
        decoded = self.records.map(self.decode, num_parallel_calls=tf.data.AUTOTUNE)
        return decoded.apply(tf.data.experimental.assert_cardinality(self.count))

    def batches(self, size: int) -> tf.data.Dataset:
        """In order."""
        return _shared(self.examples().batch(size))

    def shuffled_batches(self, size: int, seeds: EpochSeed) -> tf.data.Dataset:
        """Batches in an order determined by the epoch, so that a resumed run has the same order.

        Args:
            size: examples in a batch; the last one has the remainder.
            seeds: the callback that tracks the epoch; pass it to `fit` as well.
        """
        order = seeds.dataset(lambda seed: shuffled(self.records, self.buffer, seed))
        batches = order.map(self.decode, num_parallel_calls=tf.data.AUTOTUNE).batch(size)
        # Progress bars and schedules need the length of an epoch.
        known = tf.data.experimental.assert_cardinality(-(-self.count // size))
        return _shared(batches.apply(known))

    def split(self, share: float, seed: int) -> tuple[Self, Self]:
        """A training part and a random held-out fraction.

        Raises:
            ValueError: if the fraction is not between 0 and 1, or a part would be empty.
        """
        check_number("validation_split", share, above=0, below=1)
        held_out = max(1, round(share * self.count))
        if held_out >= self.count:
            raise ValueError(
                f"`validation_split`={share!r} of {self.count} examples leaves none for training. Give "
                "more `training_data`, or a smaller fraction."
            )
        drawn = np.zeros(self.count, bool)
        drawn[np.random.default_rng(seed).permutation(self.count)[:held_out]] = True
        return self._only(~drawn), self._only(drawn)

    def unreadable(self) -> int | None:
        """The index of the first record that cannot be decoded, or None."""
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
        """Up to `most` randomly drawn examples, as arrays."""
        some = self
        if most < self.count:
            drawn = np.zeros(self.count, bool)
            drawn[np.random.default_rng(seed).permutation(self.count)[:most]] = True
            some = self._only(drawn)
        (arrays,) = some.examples().batch(some.count).as_numpy_iterator()
        x, y = arrays
        return x, y


def _shared(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prefetched batches; each of several workers takes its part of a batch.

    Files are not divided among workers: held-out examples are identified by their index among all.
    """
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


@contextlib.contextmanager
def readable(**sources: TrainingData | None) -> Iterator[None]:
    """Turns a failure to decode an image within the block into an error that names it.

    Args:
        **sources: the data the block reads, by argument.

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
                    "remove it."
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
    """Examples with labels, in the form a model takes.

    Args:
        source: `(inputs, labels)`, or an npz file, as for `load_examples`; a folder with one folder of PNG,
            JPEG, GIF or BMP images per class; or a TFRecord file, or a `glob` pattern of such files.
            Records are `tf.train.Example`s with "image" or "image/encoded", an encoded image, and "label"
            or "image/class/label", its class index. Images are resized to the model's size and scaled to
            [0, 1].
        model: takes the inputs.
        task: what labels mean.
        part: "train" or "test", of the arrays in an npz file.
        argument: name of the argument with the examples, for messages.
        names: names of the classes; folders with these names are in this order, otherwise sorted by name.

    Raises:
        FileNotFoundError: if the file or folder does not exist.
        ValueError: if it is empty, images cannot be converted to the model's input, or labels are not
            classes of the model.
    """
    what = f"`{argument}`"
    if not _holds_images(source):
        x, y = load_examples(source, model, part, argument)
        return _of_arrays(x, y)
    path = os.fspath(source)
    if not isinstance(task, Classification):
        raise ValueError(
            f"{what}: {path!r} has one class per image, but the network has the task {task.name!r}. Give "
            "an npz file."
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
    """Inputs without labels, in the form a model takes.

    Args:
        source: inputs `(n, ...)`, or an npz file with `x_train`; a folder with images at any depth; or
            TFRecord files with images, as for `load_data`. Labels in them are ignored.
        model: takes the inputs.
        argument: name of the argument, for messages.

    Raises:
        FileNotFoundError: if the file or folder does not exist.
        ValueError: if it is empty, or images cannot be converted to the model's input.
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
            f"{what} has {len(names)} folders, but the network has {task.classes} classes. There must be a "
            "folder for each class, in the order of its classes. Received: "
            f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
        )
    task.check_labels(labels, len(labels), f"the labels of {what}")
