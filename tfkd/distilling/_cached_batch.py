"""CachedBatch: the inputs of a batch, with the index and teacher outputs that data sets carry."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from keras import tree

from tfkd._core.keras_internals import mask_of, with_mask

# Keys of the dictionary that replaces the inputs in such a data set.
INPUTS, INDEX, TEACHER = "tfkd:inputs", "tfkd:index", "tfkd:teacher:"


@dataclasses.dataclass(frozen=True)
class CachedBatch:
    """The inputs of a batch and the values that come with them.

    Args:
        inputs: the models' inputs.
        index: int64 `(batch,)`, the indices of the examples in the data set; None if unknown.
        output: the teacher's output; None if it was not cached.
        taps: cached taps of the teacher, by name.
        teacher_fingerprint: the fingerprint of the teacher that the cache was made with.
    """

    inputs: Any
    index: Any = None
    output: Any = None
    taps: dict = dataclasses.field(default_factory=dict)
    teacher_fingerprint: str | None = None

    def has_taps(self, tapped: Iterable[str]) -> bool:
        """Whether all of these taps of the teacher are cached."""
        return all(tap in self.taps for tap in tapped)


def unpack(x) -> CachedBatch:
    """Separates inputs from the values that `with_index` or `cache_teacher` added."""
    if not isinstance(x, dict) or INPUTS not in x:
        return CachedBatch(x)
    cached = [key for key in x if key.startswith(TEACHER)]
    if not cached:
        return CachedBatch(x[INPUTS], x[INDEX])
    outputs = _with_masks(**x[cached[0]])
    teacher_fingerprint = cached[0].removeprefix(TEACHER)
    return CachedBatch(x[INPUTS], x[INDEX], outputs["output"], outputs["taps"], teacher_fingerprint)


def masks_of(outputs: dict) -> dict[str, Any]:
    """The masks `(batch, tokens)` of the leaves of a structure, by leaf index."""
    found = {str(i): mask_of(leaf) for i, leaf in enumerate(tree.flatten(outputs))}
    return {i: mask for i, mask in found.items() if mask is not None and len(mask.shape) == 2}


def _with_masks(output, taps, masks):
    """Undoes `masks_of`, since a data set holds values and masks separately."""
    outputs = {"output": output, "taps": taps}
    leaves = tree.flatten(outputs)
    for i, mask in masks.items():
        leaves[int(i)] = with_mask(leaves[int(i)], mask)
    return tree.pack_sequence_as(outputs, leaves)


def with_inputs_changed(x, function: Callable[[Any], Any]):
    """Applies a function to the inputs; values added by `with_index` or `cache_teacher` are unchanged."""
    if not isinstance(x, dict) or INPUTS not in x:
        return function(x)
    return {**x, INPUTS: function(x[INPUTS])}
