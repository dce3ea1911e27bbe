"""CLM, causal language modelling: predicting the next token."""

from typing import Any

import keras
from keras import ops

from tfkd.losses._base import Batch, KnowledgeLoss
from tfkd.losses._labelled import IGNORED, both, labelled
from tfkd.losses._masked_language_modeling import masked_language_modeling


def causal_language_modeling(student, labels, shift: bool = False):
    """CLM: cross-entropy of the token after each position.

    At each position, the labels hold the token that the logits should predict, which is the next one.
    Nothing is shifted unless `shift` is set, which means that the labels are the token ids themselves.
    Reduction: one value per position, 0 where there is no label. A distiller takes the mean over the
    labelled positions of the whole batch; its exponential is the perplexity. No temperature. Computed from
    logits in float32.

    Args:
        student: the student's logits `(batch, tokens, vocabulary)`.
        labels: int `(batch, tokens)`, -100 where no token counts, such as in a prompt.
        shift: whether the labels are the token ids of the same positions, so that the logits at one
            position are compared with the label of the next; those at the last position do not count.

    Returns:
        A float32 tensor `(batch, tokens)`, at least 0.

    Raises:
        ValueError: if there is not one label for each position, or no axis of tokens to shift.

    Example:
        >>> causal_language_modeling(logits, token_ids, shift=True)

    Reference:
        Radford et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """
    return masked_language_modeling(student, _next(labels, IGNORED) if shift else labels)


def _next(values, last):
    """Values of `(batch, tokens)` shifted left by one, with `last` at the last position."""
    values = ops.convert_to_tensor(values)
    if len(values.shape) != 2:
        raise ValueError(
            "`labels` must be token ids (batch, tokens) with shift=True. Received: shape "
            f"{tuple(values.shape)}. Without shift, labels hold the token that each position should "
            "predict."
        )
    return ops.concatenate([values[:, 1:], ops.full_like(values[:, :1], last)], axis=1)


@keras.saving.register_keras_serializable(package="tfkd")
class CausalLanguageModeling(KnowledgeLoss):
    """CLM: `causal_language_modeling` as a distiller loss, which works without a teacher (None).

    This is the labels' loss, weighted among the knowledge losses. Give the distiller
    `student_loss_weight=0.0`, or it counts twice.

    Args:
        shift: whether the labels are token ids, so that each position predicts the next one; False for
            labels that are already shifted, such as those of `tfkd.tasks.CausalLanguageModel`.
        **kwargs: `student_layer`, `name`.

    Example:
        >>> parts = [SoftTargets(2.0), CausalLanguageModeling()]
        >>> tfkd.Distiller(teacher, student, parts, [0.5, 0.5], student_loss_weight=0.0)

    Reference:
        See `causal_language_modeling`.
    """

    uses_teacher = False
    over_classes = True

    def __init__(self, shift: bool = False, **kwargs) -> None:
        super().__init__(**kwargs)
        self.shift = bool(shift)

    def call(self, teacher, student, labels):
        return causal_language_modeling(student, labels, self.shift)

    def counted(self, student, batch: Batch) -> Any:
        labels = _next(batch.labels, IGNORED) if self.shift else batch.labels
        mask = both(batch.mask, labelled(labels, student)[1])
        if not self.shift or batch.mask is None:
            return mask
        # A padding token does not count as the next one either.
        return both(_next(ops.cast(batch.mask, "bool"), False), mask)

    def get_config(self) -> dict:
        return {**super().get_config(), "shift": self.shift}
