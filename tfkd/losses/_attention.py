"""Base class of losses on attention layers: taps, and rows of queries with padding."""

from collections.abc import Sequence

from keras import ops

from tfkd.losses._base import Batch, BatchLoss, Taps, as_float32_pair
from tfkd.losses._features import as_list, count_pairs, masks_of
from tfkd.losses._maps import per_example_mean

_HEADS_REMEDY = (
    "Heads are compared one by one, on the same tokens. Give the student the same number of heads as the "
    "teacher, or use tfkd.losses.SelfAttentionRelations(..., heads=n), which splits both into n heads."
)


class AttentionLoss(BatchLoss):
    """A loss on one pair of attention layers, or summed over several pairs.

    Subclasses implement `compare(teacher, student, mask)` for the values of one tap in both networks, which
    returns `(batch,)`.

    Args:
        teacher_layer: path of an attention layer of the teacher, or of a layer that contains exactly one; a
            list of paths for several.
        student_layer: the same number from the student.
        seen: which values of each layer are used: "queries", "keys", "values" or "scores". A path that ends
            in `:` and one of these is used unchanged.
        **kwargs: `name`.

    Raises:
        ValueError: if the numbers of student and teacher layers differ, or a path ends in anything else.
    """

    def __init__(self, teacher_layer: Taps, student_layer: Taps, seen: Sequence[str], **kwargs) -> None:
        teacher_taps, student_taps = (_taps(layer, seen) for layer in (teacher_layer, student_layer))
        count_pairs(teacher_taps, student_taps)
        super().__init__(teacher_taps, student_taps, **kwargs)

    def on_batch(self, teacher, student, batch: Batch):
        teachers, students = as_list(teacher), as_list(student)
        pairs = zip(teachers, students, masks_of(batch, students), strict=True)
        return sum(self.compare(*pair) for pair in pairs)

    def compare(self, teacher, student, mask):
        """The loss of one pair of taps, `(batch,)`."""
        raise NotImplementedError(f"{type(self).__name__} must implement compare(teacher, student, mask).")


def _taps(layers: Taps, seen: Sequence[str]) -> Taps:
    """The taps of attention layers: all taps of the first layer, then all of the second."""
    if layers is None:
        return None
    taps = []
    for layer in as_list(layers):
        _, colon, suffix = layer.partition(":")
        if colon and suffix not in seen:
            known = " or ".join(repr(f":{each}") for each in seen)
            raise ValueError(
                f"Attention layers must be named by their paths alone, or with {known} appended. Received: "
                f"{layer!r}."
            )
        taps += [layer] if colon else [f"{layer}:{each}" for each in seen]
    return taps[0] if isinstance(layers, str) and len(taps) == 1 else taps


def scores_pair(teacher, student, mask, below: float, filling: float):
    """Both scores `(batch, heads, tokens, tokens)` in float32, filled where they do not count.

    Args:
        teacher: the teacher's scores.
        student: the student's, of the same shape.
        mask: `(batch, tokens)`, true where a token counts, as query and as key; None for all.
        below: scores at or below this do not count either; in half precision masked keys have minus
            infinity.
        filling: the finite number that replaces scores that do not count.

    Raises:
        ValueError: if the shapes are invalid or differ, or a score that counts is not finite.
    """
    filled = []
    for scores, argument in ((teacher, "teacher"), (student, "student")):
        scores = ops.cast(scores, "float32")
        if len(scores.shape) != 4:
            raise ValueError(
                f"`{argument}` must be attention scores (batch, heads, tokens, tokens). Received: shape "
                f"{tuple(scores.shape)}. Name an attention layer, such as those of "
                "tfkd.taps.transformer(model)."
            )
        out = scores <= below
        if mask is not None:
            counts = ops.cast(mask, "bool")
            counts = ops.logical_and(counts[:, None, :, None], counts[:, None, None, :])
            out = ops.logical_or(out, ops.logical_not(counts))
        filled.append(ops.where(out, filling, scores))
    return as_float32_pair(*filled, remedy=_HEADS_REMEDY)


def mean_over_rows(values, mask):
    """`(batch,)`: the mean of `(batch, heads, queries)` over heads and the queries that count."""
    return per_example_mean(ops.mean(values, axis=1), mask)
