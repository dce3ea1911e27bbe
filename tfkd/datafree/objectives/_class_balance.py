"""Class balance: a batch in which every class is predicted equally often."""

import dataclasses

import numpy as np
from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized


def class_balance(teacher_logits, base: float = np.e):
    """Negated entropy of the batch's mean class probabilities (DAFL's information entropy).

    Args:
        teacher_logits: `(batch, classes)`.
        base: base of the logarithm; DAFL's code has 10, later systems e.

    Returns:
        A float32 scalar between -log(classes) and 0.

    Reference:
        Chen et al., "Data-Free Learning of Student Networks" (DAFL), 2019.
    """
    log_p = ops.log_softmax(ops.cast(teacher_logits, "float32"), axis=-1)
    # The mean is taken in the log domain, where a class that never comes up stays finite.
    log_mean = ops.logsumexp(log_p, axis=0) - ops.log(ops.cast(ops.shape(log_p)[0], "float32"))
    return ops.sum(ops.exp(log_mean) * log_mean) / np.log(base)


@dataclasses.dataclass(frozen=True)
class ClassBalance(Objective):
    """`class_balance` as an objective.

    Args:
        weight: factor of the term.
        base: base of the logarithm.
    """

    base: float = np.e

    def value(self, batch: Synthesized):
        return class_balance(batch.teacher_logits, self.base)
