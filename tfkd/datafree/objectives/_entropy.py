"""Entropy objective: images about which the teacher has no doubt."""

import dataclasses

from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized


def entropy(teacher_logits):
    """Entropy of the teacher's class probabilities, mean over the batch, in nats.

    Args:
        teacher_logits: `(batch, classes)`.

    Returns:
        A float32 scalar between 0 and log(classes).

    Reference:
        Choi et al., "Data-Free Network Quantization With Adversarial Knowledge Distillation", 2020.
        Computed from log-softmax, so that probabilities of 0 give 0.
    """
    log_p = ops.log_softmax(ops.cast(teacher_logits, "float32"), axis=-1)
    return -ops.mean(ops.sum(ops.exp(log_p) * log_p, axis=-1))


@dataclasses.dataclass(frozen=True)
class Entropy(Objective):
    """`entropy` as an objective.

    Args:
        weight: factor of the term.
    """

    def value(self, batch: Synthesized):
        return entropy(batch.teacher_logits)
