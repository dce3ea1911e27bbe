"""Checks the arguments of distillers and converts them to one form."""

import numbers
from collections.abc import Iterable

from tfkd.losses import KnowledgeLoss
from tfkd.losses._keras_losses import as_knowledge_loss


def all_taps(layers: Iterable[str | list[str] | None]) -> list[str]:
    """All taps that losses name, without repetitions."""
    named = (layer for layer in layers if layer)
    return list(
        dict.fromkeys(tap for layer in named for tap in ([layer] if isinstance(layer, str) else layer))
    )


def check_share(share: float) -> None:
    """Raises TypeError or ValueError if this is not a valid `student_loss_weight`."""
    if isinstance(share, bool) or not isinstance(share, numbers.Real):
        raise TypeError(
            f"`student_loss_weight` must be a number. Received: {share!r} of type {type(share)}."
        )
    if not 0 <= share <= 1:
        raise ValueError(
            "`student_loss_weight` must be between 0 (no labels) and 1 (labels only). "
            f"Received: student_loss_weight={share!r}."
        )


def as_losses(losses, student_loss_weight: float) -> list[KnowledgeLoss]:
    """One loss or several, including those of `keras.distillation`, as a list of knowledge losses."""
    losses = list(losses) if isinstance(losses, list | tuple) else [losses]
    if not losses and student_loss_weight < 1:
        raise ValueError(
            "`distillation_losses` is empty. Pass at least one, such as tfkd.losses.SoftTargets()."
        )
    return [as_knowledge_loss(loss) for loss in losses]


def as_weights(weights: float | Iterable[float] | str | None, losses: list[KnowledgeLoss]) -> list[float]:
    """A weight for each loss; raises ValueError if their number is wrong or one is negative."""
    if weights is None:
        return [1.0] * len(losses)
    if isinstance(weights, str):
        if weights != "published":
            raise ValueError(
                f'`distillation_loss_weights` must be numbers, None or "published". Received: {weights!r}.'
            )
        return [loss.published_weight for loss in losses]
    weights = list(weights) if isinstance(weights, Iterable) else [weights]
    if len(weights) != len(losses):
        raise ValueError(
            "`distillation_loss_weights` must have one weight for each of the "
            f"{len(losses)} losses. Received: {weights!r}."
        )
    if not all(0 <= weight < float("inf") for weight in weights):
        raise ValueError(
            f"`distillation_loss_weights` must be finite and at least 0. Received: {weights!r}."
        )
    return [float(weight) for weight in weights]
