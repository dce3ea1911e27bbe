"""Labels of tokens, where -100 does not count."""

from typing import Any

from keras import ops

from tfkd.losses._base import Batch
from tfkd.losses._softened import SoftenedLoss

# The usual marker in language-model libraries for "no label".
IGNORED = -100


def labelled(labels, logits):
    """Labels of positions, and a mask of those that have one.

    Args:
        labels: int `(...)`, -100 for none.
        logits: `(..., classes)` of the same positions.

    Returns:
        int32 labels with 0 where there is none, and a bool tensor of the same shape.

    Raises:
        ValueError: if there is not one label for each position.
    """
    labels = ops.cast(ops.convert_to_tensor(labels), "int32")
    sizes = zip(labels.shape, logits.shape[:-1], strict=False)
    same = all(a is None or b is None or a == b for a, b in sizes)
    if len(labels.shape) != len(logits.shape) - 1 or not same:
        raise ValueError(
            f"`labels` must be one int for each position of logits of shape {tuple(logits.shape)}, -100 "
            f"where there is no label. Received: shape {tuple(labels.shape)}."
        )
    there = ops.not_equal(labels, IGNORED)
    return ops.where(there, labels, 0), there


def both(mask, other):
    """The conjunction of two masks; the first may be None."""
    return other if mask is None else ops.logical_and(ops.cast(mask, "bool"), other)


class LabelledLoss(SoftenedLoss):
    """A loss with a temperature and a value per position; it may count only labelled positions.

    Args:
        temperature: divides the logits; above 0.
        only_labelled: whether to count only positions whose label is not -100.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive.
    """

    def __init__(self, temperature: float, only_labelled: bool = False, **kwargs) -> None:
        super().__init__(temperature, **kwargs)
        self.only_labelled = bool(only_labelled)

    def missing(self, batch: Batch) -> list[str]:
        missing = super().missing(batch)
        return [*missing, "labels"] if self.only_labelled and batch.labels is None else missing

    def counted(self, student, batch: Batch) -> Any:
        if not self.only_labelled:
            return batch.mask
        return both(batch.mask, labelled(batch.labels, student)[1])

    def get_config(self) -> dict:
        return {**super().get_config(), "only_labelled": self.only_labelled}
