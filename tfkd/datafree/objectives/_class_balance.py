"""Class balance: a batch in which every class is predicted equally often."""

import dataclasses
from typing import ClassVar

import numpy as np
from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized
from tfkd.tasks import Classification, ClassTask


def class_balance(teacher_logits, base: float = np.e, task: ClassTask | None = None):
    """Negated entropy of the batch's mean prediction (DAFL's information entropy).

    For independent labels the entropies are summed; the optimum has each label true in half of the batch.

    Args:
        teacher_logits: `(batch, classes)`.
        base: the base of the logarithm; 10 in DAFL's code, e in later work.
        task: the task; None for classification.

    Returns:
        A float32 scalar between -log(classes) and 0.

    Reference:
        Chen et al., "Data-Free Learning of Student Networks" (DAFL), 2019.
    """
    task = Classification(teacher_logits.shape[1:]) if task is None else task
    log_p = task.log_outcomes(teacher_logits)
    # The mean is taken in the log domain, so that classes that never occur stay finite.
    log_mean = ops.logsumexp(log_p, axis=0) - ops.log(ops.cast(ops.shape(log_p)[0], "float32"))
    return ops.sum(ops.exp(log_mean) * log_mean) / np.log(base)


@dataclasses.dataclass(frozen=True)
class ClassBalance(Objective):
    """`class_balance` as an objective.

    Args:
        weight: the weight of the term.
        base: the base of the logarithm.
    """

    base: float = np.e
    needs_classes: ClassVar[bool] = True

    def check_batch(self, batch_size: int, task: ClassTask) -> None:
        if batch_size < task.groups:
            raise ValueError(
                f"`batch_size`: ClassBalance balances {task.groups} classes within a batch, which needs at "
                f"least {task.groups} images. Received: {batch_size}. If memory is too small, raise "
                "`microbatches`."
            )

    def value(self, batch: Synthesized):
        return class_balance(batch.teacher_logits, self.base, batch.class_task)
