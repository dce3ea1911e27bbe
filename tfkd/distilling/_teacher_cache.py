"""TeacherCache: what a teacher says of all examples of a data set, computed once."""

import json
import os
import zlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tfkd import taps
from tfkd._core import files
from tfkd._core.fingerprints import fingerprint
from tfkd.distilling._cached_batch import INDEX, INPUTS, TEACHER, masks_of
from tfkd.distilling._cached_rows import FixedRows, RaggedRows
from tfkd.distilling._recorded_pass import recorded_pass

# How many examples at most are computed again after an interruption.
_SAVE_EVERY = 8192
# Of the files; 2: checksums leave padding out, lengths are there.
_FORMAT = 2


class TeacherCache:
    """Outputs with one row for each example, computed when this is made.

    Where batches are padded to lengths of their own, rows have the length of the batch they were computed
    in, and are joined to another batch at its length.

    Args:
        examples: yields batches of inputs and of their places in the data set, in order.
        teacher: is asked in inference mode.
        tapped: taps of it to keep besides its output.
        path: folder for the outputs; None for memory.
    """

    def __init__(
        self,
        examples: tf.data.Dataset,
        teacher: keras.Model,
        tapped: Sequence[str],
        path: str | os.PathLike | None,
    ) -> None:
        for tap in tapped:
            taps.resolve(teacher, tap)
        self.teacher, self.tapped = teacher, list(tapped)
        self.teacher_fingerprint = fingerprint(teacher)
        self.path = None if path is None else os.fspath(path)
        self._fill(examples)

    def _fill(self, examples):
        size = sum(int(index.shape[0]) for _, index in examples)
        if not size:
            raise ValueError("`dataset` is empty: there is nothing to cache.")
        ask = tf.function(self._ask, reduce_retracing=True)
        first, _ = next(iter(examples))
        done = saved = self._open(size, first, ask, examples.element_spec[0])
        for inputs, index in examples:
            rows, leaves = index.numpy(), [leaf.numpy() for leaf in tree.flatten(inputs)]
            checks, new = self._checksums(leaves), rows >= done
            if not np.array_equal(self._checks.read(rows[~new]), checks[~new]):
                raise ValueError(
                    f"The outputs at {self.path!r} are of other examples, or of the same in another order. "
                    "Give another `path`, or remove that folder."
                )
            if not new.any():
                continue
            lengths = np.full(len(rows), self._length(leaves), "int32")
            values = [checks, lengths, *(np.asarray(leaf) for leaf in tree.flatten(ask(inputs)))]
            for each, value in zip(self._all_rows, values, strict=True):
                each.write(int(rows[new][0]), value[new])
            if rows[-1] + 1 - saved >= _SAVE_EVERY or rows[-1] + 1 == size:
                saved = int(rows[-1]) + 1
                self._save_progress(size, saved)

    def _ask(self, inputs):
        passed = recorded_pass(self.teacher, self.tapped, inputs, training=False)
        outputs = {"output": passed.output, "taps": {tap: passed.features[tap] for tap in self.tapped}}
        masks = masks_of(outputs)
        # NumPy files have no bfloat16.
        outputs = tree.map_structure(
            lambda x: tf.cast(x, "float32") if x.dtype == tf.bfloat16 else x, outputs
        )
        return {**outputs, "masks": masks}

    def _open(self, size, first, ask, spec) -> int:
        """Makes the rows, or opens those there are; returns how many of them are computed already."""
        self._mask = _number_of_mask(first)
        outputs = ask(first)
        self.structure = tree.map_structure(lambda _: None, outputs)
        shapes = [tuple(leaf.shape) for leaf in tree.flatten(outputs)]
        self._open_leaves = [i for i, leaf in enumerate(tree.flatten(spec)) if _has_open_length(leaf.shape)]
        if self._open_leaves:
            traced = ask.get_concrete_function(spec).structured_outputs
            shapes = [_static_shape(*pair) for pair in zip(tree.flatten(traced), shapes, strict=True)]
        self._shapes = [shape[1:] for shape in shapes]
        done = self._found(size)
        self._checks = FixedRows(self._file("checks"), (size,), "uint32", done)
        self._lengths = FixedRows(self._file("lengths"), (size,), "int32", done)
        leaves = enumerate(zip(self._shapes, tree.flatten(outputs), strict=True))
        self._rows = [self._rows_for(i, size, *leaf, done) for i, leaf in leaves]
        return done or 0

    def _rows_for(self, name, size, shape, example, done):
        dtype = example.dtype.as_numpy_dtype
        if None in shape:
            return RaggedRows(self._file(name), size, len(shape), dtype, done)
        return FixedRows(self._file(name), (size, *shape), dtype, done)

    @property
    def _all_rows(self):
        return [self._checks, self._lengths, *self._rows]

    def _file(self, name):
        return None if self.path is None else os.path.join(self.path, str(name))

    def _found(self, size) -> int | None:
        """How many rows are at `path`; None if nothing is there."""
        if self.path is None:
            return None
        progress = os.path.join(self.path, "progress.json")
        if not os.path.exists(progress):
            os.makedirs(self.path, exist_ok=True)
            return None
        with open(progress, encoding="utf-8") as file:
            found = json.load(file)
        for key, now in self._description(size).items():
            if found.get(key) != now:
                raise ValueError(
                    f"The outputs at {self.path!r} cannot be used: their {key} is {found.get(key)!r}, "
                    f"now it is {now!r}. Give another `path`, or remove that folder."
                )
        return found["done"]

    def _description(self, size):
        return {
            "teacher": self.teacher_fingerprint,
            "taps": self.tapped,
            "examples": size,
            "format": _FORMAT,
            "shapes": [list(shape) for shape in self._shapes],
        }

    def _save_progress(self, size, done):
        if self.path is None:
            return
        for each in self._all_rows:
            each.flush()
        progress = {**self._description(size), "done": done}
        files.write_text(os.path.join(self.path, "progress.json"), json.dumps(progress))

    def join(self, *element) -> Any:
        """An element with the outputs beside its inputs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
            element[0] if len(element) == 1 else element
        )
        leaves = [x[INDEX], *tree.flatten(x[INPUTS])]
        outputs = tf.numpy_function(self._look_up, leaves, [each.dtype for each in self._rows])
        for output, shape in zip(outputs, self._shapes, strict=True):
            output.set_shape((x[INDEX].shape[0], *shape))
        x = {**x, TEACHER + self.teacher_fingerprint: tree.pack_sequence_as(self.structure, outputs)}
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def join_one(self, *element) -> Any:
        """The same for an element that is one example."""
        batch = tree.map_structure(lambda value: value[None], element)
        return tree.map_structure(lambda value: value[0], self.join(*batch))

    def _look_up(self, index, *inputs):
        if not np.array_equal(self._checks.read(index), self._checksums(inputs)):
            raise ValueError(
                "The data set gives other examples than when the teacher's outputs were computed. Shuffle "
                "after tfkd.cache_teacher, and augment by tfkd.map_inputs(cached, function). Padding may "
                "differ only behind an example: zeros, or what a `padding_mask` among the inputs shows."
            )
        lengths, now = self._lengths.read(index), self._length(inputs)
        return [
            rows.read(index)
            if isinstance(rows, FixedRows)
            else _stacked(rows.read(index), _open_axes(shape), lengths, now)
            for rows, shape in zip(self._rows, self._shapes, strict=True)
        ]

    def _length(self, leaves):
        """How many tokens the examples of a batch have, padding included; 0 if the inputs do not agree."""
        lengths = {np.shape(leaves[i])[1] for i in self._open_leaves if np.ndim(leaves[i]) > 1}
        return lengths.pop() if len(lengths) == 1 else 0

    def _checksums(self, leaves):
        """One uint32 for each example that follows from all of its inputs, but not from padding."""
        mask = None if self._mask is None else np.asarray(leaves[self._mask]) != 0
        sums = np.zeros(len(leaves[0]), "uint32")
        for leaf in leaves:
            leaf = np.ascontiguousarray(leaf)
            if mask is not None and leaf.shape == mask.shape and leaf.dtype != object:
                leaf = np.where(mask, leaf, np.zeros((), leaf.dtype))
            for i, content in enumerate(_contents(leaf)):
                sums[i] = zlib.crc32(content, int(sums[i]))
        return sums


def _contents(leaf):
    """The bytes of each example without the zeros at its end."""
    if leaf.dtype == object:
        # Strings are Python objects, of which NumPy knows only where they are.
        return [repr(example).encode() for example in leaf]
    flat = leaf.reshape(len(leaf), -1)
    there = np.pad(flat != 0, ((0, 0), (1, 0)), constant_values=True)
    sizes = flat.shape[1] - np.argmax(there[:, ::-1], axis=1)
    return [example[:size].tobytes() for example, size in zip(flat, sizes, strict=True)]


def _number_of_mask(inputs):
    """Which of the flattened inputs is the `padding_mask`; None if there is none."""
    named = tree.flatten({name: name for name in inputs}) if isinstance(inputs, dict) else []
    # An input that is a structure itself takes more than one place.
    whole = not any(map(tree.is_nested, inputs.values())) if named else False
    return named.index("padding_mask") if whole and "padding_mask" in named else None


def _has_open_length(shape):
    return shape.rank is None or None in shape.as_list()[1:]


def _static_shape(traced, example):
    """What is known of the shape of an output, `(batch, ...)`, before data are seen."""
    shape = traced.shape
    return (None,) * len(example) if shape.rank is None else tuple(shape)


def _open_axes(shape):
    return [axis for axis, size in enumerate(shape) if size is None]


def _stacked(rows, axes, lengths, now):
    """Rows from batches of other lengths as those of one batch, whose length is `now`."""
    rows = [
        _at_length(row, axes, *pair) for row, pair in zip(rows, [(n, now) for n in lengths], strict=True)
    ]
    shapes = sorted({row.shape for row in rows})
    if len(shapes) > 1:
        raise ValueError(
            "The batches are padded to other lengths than when the teacher's outputs were computed, and "
            f"these, of shapes {shapes}, do not follow the tokens. Batch as then, and again after "
            "tfkd.cache_teacher."
        )
    return np.stack(rows)


def _at_length(row, axes, then, now):
    """A row with its axes of tokens cut to another length, or filled with zeros."""
    if then == now or not then:
        return row
    axes = [axis for axis in axes if row.shape[axis] == then]
    row = row[tuple(slice(now) if axis in axes else slice(None) for axis in range(row.ndim))]
    behind = [(0, max(now - then, 0)) if axis in axes else (0, 0) for axis in range(row.ndim)]
    return np.pad(row, behind)
