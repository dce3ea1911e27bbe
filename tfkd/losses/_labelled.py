"""Labels of tokens, of which those that are -100 do not count."""

from typing import Any

from keras import ops

from tfkd.losses._base import Batch
from tfkd.losses._softened import SoftenedLoss

# What the libraries of language models have for "no label here".
IGNORED = -100


def labelled(labels, logits):
    """Labels of positions, and where there is one.

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
            f"where there is none. Received: shape {tuple(labels.shape)}."
        )
    there = ops.not_equal(labels, IGNORED)
    return ops.where(there, labels, 0), there


def both(mask, other):
    """What two masks let count, of which the first may be None."""
    return other if mask is None else ops.logical_and(ops.cast(mask, "bool"), other)


class LabelledLoss(SoftenedLoss):
    """A loss with a temperature and a value for each position, of which it may count those with a label.

    Args:
        temperature: what logits are divided by, above 0.
        only_labelled: whether only positions count whose label is not -100.
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
