"""How sparsity grows over the length of `fit`."""

from typing import Any

import tensorflow as tf
from typing_extensions import Self

# The share of a run in which sparsity grows; in the rest the other weights settle.
GROWING_SHARE = 0.6
# By how much blocks and small layers may miss a sparsity.
TOLERATED = 0.02
# How many passes it takes where nobody says how long a run will be, and how often masks change.
_UNTOLD, _MASK_UPDATES = 1000, 100


class OverFit:
    """A pruning schedule of tfmot's kind whose end is told later: cubic, from 0, over 60 % of a run.

    Args:
        final_sparsity: share of zeros at its end, in [0, 1).

    Attributes:
        end: int64 variable, the pass in which sparsity is to be reached; 0 if nobody has told, which
            counts as 1000.
    """

    def __init__(self, final_sparsity: float) -> None:
        self.final_sparsity = final_sparsity
        self.end = tf.Variable(tf.zeros((), "int64"), trainable=False)

    def __call__(self, step) -> tuple[Any, Any]:
        step, end = tf.cast(step, "int64"), tf.where(self.end > 0, self.end.value(), _UNTOLD)
        every = tf.maximum(end // _MASK_UPDATES, 1)
        # The last change has to fall on a step at which masks do change.
        last = end // every * every
        grown = tf.cast(tf.minimum(step / last, 1.0), "float32")
        return (step <= last) & (step % every == 0), self.final_sparsity * (1 - (1 - grown) ** 3)

    def get_config(self) -> dict:
        return {"class_name": "OverFit", "config": {"final_sparsity": self.final_sparsity}}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**config)


def end_of_growth(done: int, passes: int) -> int:
    """The pass in which sparsity is reached, for a run of so many passes behind those that are done."""
    return done + max(1, int(GROWING_SHARE * passes))


def final_sparsity(schedule: Any) -> float | None:
    """The sparsity that a schedule leads to; None for one of a user's own kind."""
    known = ("final_sparsity", "target_sparsity")
    return next((vars(schedule)[name] for name in known if name in vars(schedule)), None)
