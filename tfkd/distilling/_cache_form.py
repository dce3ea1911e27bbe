"""CacheForm: the contents of a cache row, determined from a first batch."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from keras import tree

from tfkd.distilling._cached_rows import Arrays, FixedRows, RaggedRows
from tfkd.distilling._checksums import checksums, number_of_mask
from tfkd.distilling._packing import Compress, TopLogits, packing_of

# A shard is kept in memory while it is written or read, and recomputed after an interruption.
_SHARD_EXAMPLES, _SHARD_BYTES = 8192, 2**25
# A warning appears if a larger part of the soft-target loss is lost.
_MOST_LOST = 0.01


class CacheForm:
    """The columns of a cache: checksums of the inputs, their length in tokens, and packed outputs.

    Args:
        ask: a compiled function from inputs to outputs, a dictionary of `output`, `taps` and `masks`.
        inputs: a first batch.
        spec: the spec of a batch of inputs.
        compress: how outputs are stored; see `packing_of`.
        temperature: the temperature of the losses, if `compress` is a number of classes.

    Raises:
        ValueError: if `compress` does not suit the outputs.

    Warns:
        UserWarning: if much of the soft targets' information is lost on the first batch.
    """

    def __init__(
        self, ask: Callable, inputs: Any, spec: Any, compress: Compress, temperature: float
    ) -> None:
        self._ask, self._mask = ask, number_of_mask(inputs)
        self._pack = tf.function(self._packed, reduce_retracing=True, autograph=False)
        outputs = ask(inputs)
        leaves = tree.flatten(outputs)
        self._structure = tree.map_structure(lambda _: None, outputs)
        kinds = [kind for kind in sorted(outputs) for _ in tree.flatten(outputs[kind])]
        self._packings = [
            packing_of(None if kind == "masks" else compress, temperature, leaf, kind == "output")
            for kind, leaf in zip(kinds, leaves, strict=True)
        ]
        self._warn_of_loss(leaves)
        shapes = [tuple(leaf.shape) for leaf in leaves]
        self._open_leaves = [i for i, leaf in enumerate(tree.flatten(spec)) if _has_open_length(leaf.shape)]
        if self._open_leaves:
            traced = tree.flatten(ask.get_concrete_function(spec).structured_outputs)
            shapes = [_static_shape(*pair) for pair in zip(traced, shapes, strict=True)]
        self._shapes = [shape[1:] for shape in shapes]
        self._make_columns(self._pack(outputs))

    def _packed(self, outputs):
        leaves = zip(self._packings, tree.flatten(outputs), strict=True)
        return [part for packing, leaf in leaves for part in packing.pack(leaf)]

    def _make_columns(self, packed):
        dense = zip(self._packings, self._shapes, strict=True)
        shapes = [shape for packing, of_leaf in dense for shape in packing.shapes(of_leaf)]
        self.outputs = [
            (RaggedRows if None in shape else FixedRows)(str(i), shape, part.dtype.as_numpy_dtype)
            for i, (shape, part) in enumerate(zip(shapes, packed, strict=True))
        ]
        self.checks, self.lengths = FixedRows("checks", (), "uint32"), FixedRows("lengths", (), "int32")
        self.columns = [self.checks, self.lengths, *self.outputs]
        bytes_of_row = sum(part.dtype.size * math.prod(part.shape[1:]) for part in packed)
        self.shard_size = max(1, min(_SHARD_EXAMPLES, _SHARD_BYTES // max(1, bytes_of_row)))

    def _warn_of_loss(self, leaves):
        for packing, logits in zip(self._packings, leaves, strict=True):
            if isinstance(packing, TopLogits) and (lost := packing.lost_share(logits)) > _MOST_LOST:
                warnings.warn(
                    f"compress={packing.kept} loses {lost:.1%} of the soft-target loss on the first batch, "
                    f"at temperature {packing.temperature:g}. Keep more classes, or use "
                    '"float16", to stay within 1 % of the exact loss.',
                    stacklevel=5,
                )

    def rows(self, inputs: Any) -> list[np.ndarray]:
        """The rows of a batch of inputs, one array for each column."""
        leaves = [leaf.numpy() for leaf in tree.flatten(inputs)]
        lengths = np.full(len(leaves[0]), self.length(leaves), "int32")
        return [self.sums(leaves), lengths, *(part.numpy() for part in self._pack(self._ask(inputs)))]

    def sums(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """The checksums of flattened inputs."""
        return checksums(leaves, self._mask)

    def length(self, leaves: Sequence[np.ndarray]) -> int:
        """The number of tokens per example in a batch, padding included; 0 if the inputs disagree."""
        lengths = {np.shape(leaves[i])[1] for i in self._open_leaves if np.ndim(leaves[i]) > 1}
        return lengths.pop() if len(lengths) == 1 else 0

    def check(self, arrays: Arrays) -> None:
        """Raises ValueError if arrays from a file do not form a shard."""
        rows = len(arrays.get("checks", ()))
        for column in self.columns:
            column.check(arrays, rows)

    def unpacked(self, parts: Sequence[Any], size: int | None) -> Any:
        """The teacher's outputs, unpacked.

        Args:
            parts: the values of the output columns for a batch.
            size: the number of examples; None if unknown.
        """
        leaves, parts = [], list(parts)
        for packing, shape in zip(self._packings, self._shapes, strict=True):
            count = len(packing.shapes(shape))
            kept, parts = parts[:count], parts[count:]
            for part, kept_shape in zip(kept, packing.shapes(shape), strict=True):
                part.set_shape((size, *kept_shape))
            leaf = packing.unpack(kept)
            leaf.set_shape((size, *shape))
            leaves.append(leaf)
        return tree.pack_sequence_as(self._structure, leaves)


def _has_open_length(shape):
    return shape.rank is None or None in shape.as_list()[1:]


def _static_shape(traced, example):
    """The static shape of an output, `(batch, ...)`, as far as it is known without data."""
    shape = traced.shape
    return (None,) * len(example) if shape.rank is None else tuple(shape)
