"""Distillation: what callbacks, stages and snapshots ask of a distiller or a scheme."""

from typing import Protocol, runtime_checkable

import keras

from tfkd.distilling._loss_set import LossSet


@runtime_checkable
class Distillation(Protocol):
    """A model whose training teaches one student or several.

    Attributes:
        students: the networks that are taught.
        loss_sets: what they learn by, in the order of the students.
        sources: what makes inputs where `fit` is given none; empty where it is.

    Example:
        >>> isinstance(tfkd.Distiller(teacher, student, tfkd.losses.SoftTargets()), Distillation)
        True
    """

    students: list[keras.Model]
    loss_sets: list[LossSet]
    sources: list[keras.Layer]


def check_distillation(model: object, asked_by: object) -> None:
    """Raises TypeError if a callback is given to a model that does not teach students.

    Args:
        model: the model that is trained.
        asked_by: the callback.
    """
    if not isinstance(model, Distillation):
        raise TypeError(
            f"{type(asked_by).__name__} is for distillers and schemes, which have `students`, `loss_sets` "
            f"and `sources`. Received: {model!r} of type {type(model)}. Use it with tfkd.Distiller or the "
            "like."
        )
