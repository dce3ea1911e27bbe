"""How sparsity grows over the length of `fit`."""

from typing import Any

import tensorflow as tf
from typing_extensions import Self

# The fraction of a run in which sparsity grows; in the rest the remaining weights adapt.
GROWING_SHARE = 0.6
# By how much blocks and small layers may miss a sparsity.
TOLERATED = 0.02
# The passes in which sparsity grows if the length of the run is unknown, and the number of mask updates.
_UNTOLD, _MASK_UPDATES = 1000, 100


class OverFit:
    """A pruning schedule in tfmot's format whose end is set later: cubic, from 0, over 60 % of a run.

    Args:
        final_sparsity: the fraction of zeros at its end, in [0, 1).

    Attributes:
        end: an int64 variable, the pass in which the sparsity is reached; 0 if it has not been set, which
            counts as 1000.
    """

    def __init__(self, final_sparsity: float) -> None:
        self.final_sparsity = final_sparsity
        self.end = tf.Variable(tf.zeros((), "int64"), trainable=False)

    def __call__(self, step) -> tuple[Any, Any]:
        step, end = tf.cast(step, "int64"), tf.where(self.end > 0, self.end.value(), _UNTOLD)
        every = tf.maximum(end // _MASK_UPDATES, 1)
        # The last change must fall on a step at which masks are updated.
        last = end // every * every
        grown = tf.cast(tf.minimum(step / last, 1.0), "float32")
        return (step <= last) & (step % every == 0), self.final_sparsity * (1 - (1 - grown) ** 3)

    def get_config(self) -> dict:
        return {"class_name": "OverFit", "config": {"final_sparsity": self.final_sparsity}}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**config)


def end_of_growth(done: int, passes: int) -> int:
    """The pass in which sparsity is reached, given the passes already done and those to come."""
    return done + max(1, int(GROWING_SHARE * passes))


def final_sparsity(schedule: Any) -> float | None:
    """The final sparsity of a schedule; None for custom schedules."""
    known = ("final_sparsity", "target_sparsity")
    return next((vars(schedule)[name] for name in known if name in vars(schedule)), None)
