"""Teacher outputs computed once and carried with the examples."""

import dataclasses
import json
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tfkd import taps
from tfkd._core import files
from tfkd._core.fingerprints import fingerprint
from tfkd._core.keras_versions import check_keras_3
from tfkd._core.named_inputs import taken_by

# Keys of the dictionary that such a data set has in place of the inputs.
_INPUTS, _INDEX, _TEACHER = "tfkd:inputs", "tfkd:index", "tfkd:teacher:"
_BATCH = 256
# How many examples at most are computed again after an interruption.
_SAVE_EVERY = 8192


@dataclasses.dataclass(frozen=True)
class CachedBatch:
    """The inputs of a batch and what comes with them.

    Args:
        inputs: what the models take.
        index: int64 `(batch,)`, the examples' places in the data set; None if unknown.
        output: the teacher's output; None if it was not cached.
        taps: cached taps of the teacher, by name.
        teacher_fingerprint: fingerprint of the teacher the cache was made with.
    """

    inputs: Any
    index: Any = None
    output: Any = None
    taps: dict = dataclasses.field(default_factory=dict)
    teacher_fingerprint: str | None = None

    def has_taps(self, tapped: Iterable[str]) -> bool:
        """Whether the cached outputs hold all of these taps of the teacher."""
        return all(tap in self.taps for tap in tapped)


def unpack(x) -> CachedBatch:
    """Separates inputs from what `with_index` or `cache_teacher` put beside them."""
    if not isinstance(x, dict) or _INPUTS not in x:
        return CachedBatch(x)
    cached = [key for key in x if key.startswith(_TEACHER)]
    if not cached:
        return CachedBatch(x[_INPUTS], x[_INDEX])
    outputs = x[cached[0]]
    teacher_fingerprint = cached[0].removeprefix(_TEACHER)
    return CachedBatch(x[_INPUTS], x[_INDEX], outputs["output"], outputs["taps"], teacher_fingerprint)


def with_inputs_changed(x, function: Callable[[Any], Any]):
    """The inputs changed, and what `with_index` or `cache_teacher` put beside them as it is."""
    if not isinstance(x, dict) or _INPUTS not in x:
        return function(x)
    return {**x, _INPUTS: function(x[_INPUTS])}


def with_index(dataset: tf.data.Dataset, batched: bool = True) -> tf.data.Dataset:
    """Gives every example its place in the data set, which some losses need.

    Shuffle afterwards, or the places belong to other examples in every epoch.

    Args:
        dataset: yields `x`, `(x, y)` or `(x, y, sample_weight)`, always in the same order.
        batched: whether its elements are batches.

    Returns:
        A data set of the same elements for `Distiller.fit`, with the places beside `x`.

    Raises:
        TypeError: if it is no `tf.data.Dataset`.

    Example:
        >>> examples = tf.data.Dataset.from_tensor_slices((x, y))
        >>> dataset = tfkd.with_index(examples, batched=False).shuffle(60000).batch(128)
    """
    _check_dataset(dataset)

    def place(first, element):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(element)
        size = tf.shape(tree.flatten(x)[0], out_type="int64")[0] if batched else tf.constant(1, "int64")
        index = first + tf.range(size) if batched else first
        return first + size, keras.utils.pack_x_y_sample_weight(
            {_INPUTS: x, _INDEX: index}, y, sample_weight
        )

    placed = dataset.scan(tf.constant(0, "int64"), place)
    # Keras wants to know how long an epoch is, and scan forgets.
    length = int(dataset.cardinality())
    return placed.apply(tf.data.experimental.assert_cardinality(length)) if length >= 0 else placed


def cache_teacher(
    dataset: tf.data.Dataset,
    teacher: keras.Model,
    taps: Sequence[str] = (),
    path: str | os.PathLike | None = None,
    batched: bool = True,
) -> tf.data.Dataset:
    """Runs the teacher once over a data set and carries its outputs with the examples.

    A `tfkd.Distiller` that trains on the result skips the teacher. Outputs are found by the example's
    place in the data set and travel with it, so shuffle (and batch again) afterwards; each input is
    compared with the one its outputs were computed from, so a data set that changes between epochs, by
    shuffling or augmentation before this call, is refused. `map_inputs` augments afterwards: the teacher's
    outputs stay those of the inputs as they were.

    Args:
        dataset: yields `x`, `(x, y)` or `(x, y, sample_weight)`, always the same in the same order.
        teacher: a trained model; it is run in inference mode.
        taps: taps of the teacher to carry besides its output, as losses with `teacher_layer` need.
        path: folder for the outputs, which are then memory-mapped; an interrupted computation goes
            on where it was, and a finished one is used again if the teacher, the taps and the
            inputs are the same. None keeps them in memory.
        batched: whether the elements of `dataset` are batches.

    Returns:
        A data set of the same elements for `Distiller.fit`.

    Raises:
        TypeError: if `dataset` is not a `tf.data.Dataset`, or the teacher is a tf_keras model.
        ValueError: if the data set is endless, the teacher has no such layer, or what is at `path` was
            made by another teacher or for other taps or examples. When it is iterated,
            `tf.errors.InvalidArgumentError` if its examples are not those of the first time.

    Example:
        >>> examples = tf.data.Dataset.from_tensor_slices((x, y)).batch(256)
        >>> cached = tfkd.cache_teacher(examples, teacher, path="cache")
        >>> distiller.fit(cached.unbatch().shuffle(60000).batch(128), epochs=10)
    """
    _check_dataset(dataset)
    check_keras_3("teacher", teacher)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`dataset` must end. Received: an endless one. Call cache_teacher before repeat()."
        )
    places = with_index(dataset, batched)
    cache = _Cache(places if batched else places.batch(_BATCH), teacher, tuple(taps), path)
    return places.map(cache.join if batched else cache.join_one)


def map_inputs(dataset: tf.data.Dataset, function: Callable[[Any], Any]) -> tf.data.Dataset:
    """Changes the inputs of a data set and leaves labels, weights and what the teacher said as they are.

    What augments a data set from `cache_teacher` or `with_index`, whose elements hold more than inputs.

    Args:
        dataset: yields `x`, `(x, y)` or `(x, y, sample_weight)`, batches or single examples, where `x` may
            carry a teacher's outputs.
        function: from inputs to inputs, as `tf.data.Dataset.map` would call it.

    Returns:
        A data set of the same form.

    Raises:
        TypeError: if `dataset` is no `tf.data.Dataset`.

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
            f"`dataset` must be a tf.data.Dataset. Received: {dataset!r} of type {type(dataset)}. Arrays "
            "become one by tf.data.Dataset.from_tensor_slices((x, y)).batch(256)."
        )


class _Cache:
    """Arrays of outputs with one row an example, computed when this is made."""

    def __init__(self, places, teacher, tapped, path):
        for tap in tapped:
            taps.resolve(teacher, tap)
        self.teacher, self.tapped = teacher, tapped
        self.teacher_fingerprint = fingerprint(teacher)
        self.path = None if path is None else os.fspath(path)
        self._fill(places)

    def _fill(self, places):
        examples = places.map(lambda *element: (_unpacked(element).inputs, _unpacked(element).index))
        size = sum(int(index.shape[0]) for _, index in examples)
        if not size:
            raise ValueError("`dataset` is empty: there is nothing to cache.")
        first, _ = next(iter(examples))
        ask = tf.function(self._ask)
        outputs = ask(first)
        self.structure = tree.map_structure(lambda _: None, outputs)
        self.arrays, done = self._opened(size, [np.asarray(output) for output in tree.flatten(outputs)])
        saved = done
        for inputs, index in examples:
            rows = index.numpy()
            checks = _checksums([leaf.numpy() for leaf in tree.flatten(inputs)])
            old = rows < done
            if not np.array_equal(self.arrays[0][rows[old]], checks[old]):
                raise ValueError(
                    f"The outputs at {self.path!r} are of other examples, or of the same in another order. "
                    "Give another `path`, or remove that folder."
                )
            if old.all():
                continue
            values = [checks, *(np.asarray(leaf) for leaf in tree.flatten(ask(inputs)))]
            for array, value in zip(self.arrays, values, strict=True):
                if array.shape[1:] != value.shape[1:]:
                    raise ValueError(
                        "`dataset` must give outputs of one size. Received: outputs of shape "
                        f"{value.shape[1:]}, before of {array.shape[1:]}. Pad all batches alike."
                    )
                array[rows] = value
            if rows[-1] + 1 - saved >= _SAVE_EVERY or rows[-1] + 1 == size:
                saved = int(rows[-1]) + 1
                self._save_progress(size, saved)

    def _ask(self, inputs):
        with taps.record(self.teacher, self.tapped) as seen:
            output = self.teacher(taken_by(self.teacher, inputs), training=False)
        outputs = {"output": output, "taps": {tap: seen[tap] for tap in self.tapped}}
        # NumPy files have no bfloat16.
        return tree.map_structure(lambda x: tf.cast(x, "float32") if x.dtype == tf.bfloat16 else x, outputs)

    def _opened(self, size: int, examples: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
        """The arrays, checksums first, made or opened, and how many of their rows are computed already."""
        shapes = [(size,), *((size, *example.shape[1:]) for example in examples)]
        dtypes = ["uint32", *(str(example.dtype) for example in examples)]
        if self.path is None:
            return [np.zeros(s, d) for s, d in zip(shapes, dtypes, strict=True)], 0
        progress = os.path.join(self.path, "progress.json")
        names = [os.path.join(self.path, f"{i}.npy") for i in range(len(shapes))]
        if os.path.exists(progress):
            with open(progress, encoding="utf-8") as file:
                found = json.load(file)
            self._check_same(found, size)
            mode = "r" if found["done"] == size else "r+"
            return [np.lib.format.open_memmap(name, mode=mode) for name in names], found["done"]
        os.makedirs(self.path, exist_ok=True)
        new = zip(names, shapes, dtypes, strict=True)
        return [np.lib.format.open_memmap(name, mode="w+", dtype=d, shape=s) for name, s, d in new], 0

    def _check_same(self, found, size):
        for key, now in self._description(size).items():
            if found.get(key) != now:
                raise ValueError(
                    f"The outputs at {self.path!r} cannot be used: their {key} is {found.get(key)!r}, "
                    f"now it is {now!r}. Give another `path`, or remove that folder."
                )

    def _description(self, size):
        return {"teacher": self.teacher_fingerprint, "taps": list(self.tapped), "examples": size}

    def _save_progress(self, size, done):
        if self.path is None:
            return
        for array in self.arrays:
            if isinstance(array, np.memmap):
                array.flush()
        progress = {**self._description(size), "done": done}
        files.write_text(os.path.join(self.path, "progress.json"), json.dumps(progress))

    def join(self, *element):
        """An element with the outputs beside its inputs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
            element[0] if len(element) == 1 else element
        )
        leaves = [x[_INDEX], *tree.flatten(x[_INPUTS])]
        outputs = tf.numpy_function(self._look_up, leaves, [array.dtype for array in self.arrays[1:]])
        for output, array in zip(outputs, self.arrays[1:], strict=True):
            output.set_shape((x[_INDEX].shape[0], *array.shape[1:]))
        x = {**x, _TEACHER + self.teacher_fingerprint: tree.pack_sequence_as(self.structure, outputs)}
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def join_one(self, *element):
        """The same for an element that is one example."""
        batch = tree.map_structure(lambda value: value[None], element)
        return tree.map_structure(lambda value: value[0], self.join(*batch))

    def _look_up(self, index, *inputs):
        if not np.array_equal(self.arrays[0][index], _checksums(inputs)):
            raise ValueError(
                "The data set gives other examples than when the teacher's outputs were computed. Shuffle "
                "after tfkd.cache_teacher, and augment by tfkd.map_inputs(cached, function)."
            )
        return [array[index] for array in self.arrays[1:]]


def _unpacked(element):
    x, _, _ = keras.utils.unpack_x_y_sample_weight(element[0] if len(element) == 1 else element)
    return unpack(x)


def _checksums(leaves):
    """One uint32 for each example that follows from all of its inputs."""
    leaves = [np.ascontiguousarray(leaf) for leaf in leaves]
    sums = np.zeros(len(leaves[0]), "uint32")
    for leaf in leaves:
        for i, example in enumerate(leaf):
            # Strings are Python objects, of which NumPy knows only where they are.
            content = repr(example).encode() if leaf.dtype == object else example.tobytes()
            sums[i] = zlib.crc32(content, int(sums[i]))
    return sums
