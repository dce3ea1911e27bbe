"""TeacherCache: a teacher's outputs for all examples of a data set, computed once."""

import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tfkd import taps
from tfkd._core import progress
from tfkd._core.fingerprints import fingerprint
from tfkd.distilling._cache_form import CacheForm
from tfkd.distilling._cached_batch import INDEX, INPUTS, TEACHER, masks_of
from tfkd.distilling._packing import Compress
from tfkd.distilling._recorded_pass import recorded_pass
from tfkd.distilling._shards import ShardFolder, Shards, ShardsInMemory

# The version of the file format; 3 introduced shards.
_FORMAT = 3
_OTHER_EXAMPLES = (
    "The data set gives other examples than when the teacher's outputs were computed. Shuffle after "
    "tfkd.cache_teacher, and augment with tfkd.map_inputs(cached, function). Padding may differ only after "
    "the tokens: zeros, or positions that a `padding_mask` among the inputs marks."
)


class TeacherCache:
    """A teacher's outputs with one row for each example, computed in the constructor.

    If batches are padded to different lengths, rows have the length of the batch in which they were
    computed, and are adjusted to the length of each later batch.

    Args:
        examples: yields batches of inputs and of their indices in the data set, in order.
        teacher: the teacher, run in inference mode.
        tapped: its taps to store besides its output.
        path: a folder for the outputs; None for memory.
        compress: how they are stored; see `packing_of`.
        temperature: the temperature of the losses, for a number of classes.
        share: the index of this worker and the number of workers; each handles only its own shards.
    """

    def __init__(
        self,
        examples: tf.data.Dataset,
        teacher: keras.Model,
        tapped: Sequence[str],
        path: str | os.PathLike | None,
        compress: Compress,
        temperature: float,
        share: tuple[int, int],
    ) -> None:
        for tap in tapped:
            taps.resolve(teacher, tap)
        self.teacher, self.tapped, self._share = teacher, list(tapped), share
        self.teacher_fingerprint = fingerprint(teacher)
        batches = iter(examples)
        first = next(batches, None)
        if first is None:
            raise ValueError("`dataset` is empty: there is nothing to cache.")
        ask = tf.function(self._ask, reduce_retracing=True)
        spec: Any = examples.element_spec
        self._form = CacheForm(ask, first[0], spec[0], compress, temperature)
        self._path = None if path is None else os.fspath(path)
        self._shards = self._open(compress, temperature)
        if self._is_complete():
            self._check(
                first[0], [part for part in self._by_shard(first[1].numpy()) if self._is_own(part[0])]
            )
        else:
            self._fill(itertools.chain([first], batches))

    def _ask(self, inputs):
        passed = recorded_pass(self.teacher, self.tapped, inputs, training=False)
        outputs = {"output": passed.output, "taps": {tap: passed.features[tap] for tap in self.tapped}}
        masks = masks_of(outputs)
        # NumPy files do not support bfloat16.
        outputs = tree.map_structure(
            lambda x: tf.cast(x, "float32") if x.dtype == tf.bfloat16 else x, outputs
        )
        return {**outputs, "masks": masks}

    def _open(self, compress, temperature) -> Shards:
        if self._path is None:
            return ShardsInMemory(self._form.shard_size)
        description = {
            "format": _FORMAT,
            "teacher": self.teacher_fingerprint,
            "taps": self.tapped,
            "compress": compress,
            "temperature": temperature if isinstance(compress, int) else None,
            "shapes": [column.shape for column in self._form.outputs],
        }
        return ShardFolder(self._path, description, self._form.shard_size, self._form.check)

    def _is_own(self, number):
        return self.owns(number * self._shards.size)

    def _is_complete(self):
        if self._shards.examples is None:
            return False
        numbers = range(-(-self._shards.examples // self._shards.size))
        return all(number in self._shards for number in numbers if self._is_own(number))

    def _fill(self, batches):
        """Computes the missing shards in one pass over the examples."""
        # Decided at the start of a shard, since another process may write it in the meantime.
        is_missing = functools.cache(lambda number: number not in self._shards)
        pieces, examples = [], 0
        with progress.work("running the teacher on the data set"):
            for inputs, index in batches:
                own = [part for part in self._by_shard(index.numpy()) if self._is_own(part[0])]
                missing = [part for part in own if is_missing(part[0])]
                self._check(inputs, [part for part in own if not is_missing(part[0])])
                rows = self._form.rows(inputs) if missing else []
                examples += len(index)
                for number, chosen, _ in missing:
                    pieces.append([column[chosen] for column in rows])
                    if examples >= (number + 1) * self._shards.size:
                        self._write(number, pieces)
                        pieces = []
        if pieces:
            self._write((examples - 1) // self._shards.size, pieces)
        self._shards.finish(examples)

    def _write(self, number, pieces):
        arrays = {}
        for column, parts in zip(self._form.columns, zip(*pieces, strict=True), strict=True):
            arrays.update(column.joined(parts))
        self._shards.write(number, arrays)

    def _by_shard(self, index) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yields each shard's number, which of the examples are in it, and their positions there."""
        numbers = index // self._shards.size
        for number in np.unique(numbers).tolist():
            chosen = numbers == number
            yield number, chosen, index[chosen] - number * self._shards.size

    def _agree(self, shard, places, sums):
        known = self._form.checks.read(shard, places[places < len(shard["checks"])])
        return np.array_equal(known, sums)

    def _check(self, inputs, parts):
        """Raises ValueError if parts of a batch do not match the examples of existing shards."""
        if not parts:
            return
        sums = self._form.sums([leaf.numpy() for leaf in tree.flatten(inputs)])
        for number, chosen, places in parts:
            if not self._agree(self._shards.read(number), places, sums[chosen]):
                raise ValueError(
                    f"The outputs at {self._path!r} are for other examples, or for the same ones in a "
                    "different order. Pass another `path`, or remove that folder."
                )

    def owns(self, index) -> Any:
        """Whether the examples with these indices are in this worker's shards."""
        worker, workers = self._share
        return index // self._shards.size % workers == worker

    def own(self, *element) -> Any:
        """The examples of an element that are in this worker's shards."""
        owned = self.owns(element[0][INDEX])
        return tree.map_structure(lambda value: tf.boolean_mask(value, owned), element)

    def join(self, *element) -> Any:
        """An element with the teacher's outputs added to its inputs."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
            element[0] if len(element) == 1 else element
        )
        leaves = [x[INDEX], *tree.flatten(x[INPUTS])]
        parts = tf.numpy_function(self._look_up, leaves, [column.dtype for column in self._form.outputs])
        outputs = self._form.unpacked(parts, x[INDEX].shape[0])
        x = {**x, TEACHER + self.teacher_fingerprint: outputs}
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)

    def join_one(self, *element) -> Any:
        """`join` for an element that is a single example."""
        batch = tree.map_structure(lambda value: value[None], element)
        return tree.map_structure(lambda value: value[0], self.join(*batch))

    def _look_up(self, index, *inputs):
        form, sums, now = self._form, self._form.sums(inputs), self._form.length(inputs)
        if index[-1] >= self._shards.examples:
            where = "" if self._path is None else f" at {self._path!r}"
            raise ValueError(
                f"The data set has more examples than the {self._shards.examples} whose outputs are "
                f"cached{where}. Call tfkd.cache_teacher for it with another `path`."
            )
        lengths, rows = [], [[] for _ in form.outputs]
        for number, chosen, places in self._by_shard(index):
            shard = self._shards.read(number)
            if not self._agree(shard, places, sums[chosen]):
                raise ValueError(_OTHER_EXAMPLES)
            lengths.extend(form.lengths.read(shard, places))
            for column, found in zip(form.outputs, rows, strict=True):
                found.extend(column.read(shard, places))
        return [column.batch(found, lengths, now) for column, found in zip(form.outputs, rows, strict=True)]
