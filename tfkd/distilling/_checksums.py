"""Checksums of examples, to verify that cached outputs belong to them."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import tree


def checksums(leaves: Sequence[np.ndarray], mask: int | None) -> np.ndarray:
    """A uint32 checksum for each example, of all its inputs without padding.

    Args:
        leaves: the flattened inputs of a batch.
        mask: the index of the `padding_mask` among them; None if there is none.
    """
    there = None if mask is None else np.asarray(leaves[mask]) != 0
    sums = np.zeros(len(leaves[0]), "uint32")
    for leaf in leaves:
        leaf = np.ascontiguousarray(leaf)
        if there is not None and leaf.shape == there.shape and leaf.dtype != object:
            leaf = np.where(there, leaf, np.zeros((), leaf.dtype))
        for i, content in enumerate(_contents(leaf)):
            sums[i] = zlib.crc32(content, int(sums[i]))
    return sums


def _contents(leaf):
    """The bytes of each example without the zeros at its end."""
    if leaf.dtype == object:
        # NumPy stores strings as pointers, whose bytes do not depend on the text.
        return [repr(example).encode() for example in leaf]
    flat = leaf.reshape(len(leaf), -1)
    there = np.pad(flat != 0, ((0, 0), (1, 0)), constant_values=True)
    sizes = flat.shape[1] - np.argmax(there[:, ::-1], axis=1)
    return [example[:size].tobytes() for example, size in zip(flat, sizes, strict=True)]


def number_of_mask(inputs: Any) -> int | None:
    """The index of the `padding_mask` among the flattened inputs; None if there is none."""
    named = tree.flatten({name: name for name in inputs}) if isinstance(inputs, dict) else []
    # An input that is itself a structure has several leaves.
    whole = not any(map(tree.is_nested, inputs.values())) if named else False
    return named.index("padding_mask") if whole and "padding_mask" in named else None
