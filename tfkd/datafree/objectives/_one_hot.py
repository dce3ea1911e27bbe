"""One-hot objective: images that the teacher is sure about."""

import dataclasses

from keras import ops

from tfkd.datafree.objectives._base import Objective, Synthesized


def one_hot(teacher_logits, targets=None):
    """Cross-entropy of the teacher's output against a class, mean over the batch.

    Args:
        teacher_logits: `(batch, classes)`.
        targets: int classes `(batch,)`; None for the class that the teacher itself predicts.

    Returns:
        A float32 scalar, at least 0.

    Reference:
        Chen et al., "Data-Free Learning of Student Networks" (DAFL), 2019, for predicted classes; Yin et
        al., "Dreaming to Distill" (DeepInversion), 2020, for targets.
    """
    log_p = ops.log_softmax(ops.cast(teacher_logits, "float32"), axis=-1)
    if targets is None:
        return -ops.mean(ops.max(log_p, axis=-1))
    return -ops.mean(ops.sum(log_p * ops.one_hot(targets, log_p.shape[-1]), axis=-1))


@dataclasses.dataclass(frozen=True)
class OneHot(Objective):
    """`one_hot` as an objective: towards the targets where images are made for some.

    Args:
        weight: factor of the term.
    """

    def value(self, batch: Synthesized):
        return one_hot(batch.teacher_logits, batch.targets)
