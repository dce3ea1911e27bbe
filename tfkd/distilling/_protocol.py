"""Distillation: the interface of distillers and schemes that callbacks, stages and snapshots use."""

from typing import Protocol, runtime_checkable

import keras

from tfkd.distilling._loss_set import LossSet


@runtime_checkable
class Distillation(Protocol):
    """A model that teaches one or more students.

    Attributes:
        students: the networks that are trained.
        loss_sets: their losses, in the order of the students.
        sources: the layers that produce inputs if `fit` gets none; otherwise empty.

    Example:
        >>> isinstance(tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets()), Distillation)
        True
    """

    students: list[keras.Model]
    loss_sets: list[LossSet]
    sources: list[keras.Layer]


def check_distillation(model: object, asked_by: object) -> None:
    """Raises TypeError if a callback is used with a model that does not teach students.

    Args:
        model: the model being trained.
        asked_by: the callback.
    """
    if not isinstance(model, Distillation):
        raise TypeError(
            f"{type(asked_by).__name__} is for distillers and schemes, which have `students`, `loss_sets` "
            f"and `sources`. Received: {model!r} of type {type(model)}. Use it with tfkd.Distiller or a "
            "similar model."
        )
