"""Base class of losses that wrap another loss."""

from typing import Any

import keras
from typing_extensions import Self

from tfkd.losses._base import Batch, BatchLoss, KnowledgeLoss


class LossAround(BatchLoss):
    """A loss that wraps another; subclasses implement `on_batch(teacher, student, batch)`.

    Args:
        loss: the wrapped loss; its taps, parts and published weight are used.
        name: names the loss in `History`; None for the name of the wrapped loss.

    Attributes:
        loss: the wrapped loss.
    """

    def __init__(self, loss: KnowledgeLoss, name: str | None = None) -> None:
        super().__init__(loss.teacher_layer, loss.student_layer, name=name or loss.name)
        self.loss, self.published_weight = loss, loss.published_weight
        self.over_batch = self.over_batch or loss.over_batch
        self.across_replicas = loss.across_replicas

    def computed(self) -> list[KnowledgeLoss]:
        return self.loss.computed()

    def missing(self, batch: Batch) -> list[str]:
        return self.loss.missing(batch)

    def counted(self, student, batch: Batch) -> Any:
        return self.loss.counted(student, batch)

    def constants(self) -> dict[str, Any]:
        return self.loss.constants()

    def bind(self, teacher: keras.Model | None, student: keras.Model) -> None:
        self.loss.bind(teacher, student)

    def build(self, teacher_shape=None, student_shape=None) -> None:
        if not self.loss.built:
            self.loss.build(teacher_shape, student_shape)

    def inside(self, teacher, student, batch: Batch) -> Any:
        """The values of the wrapped loss."""
        return self.loss(teacher, student, **self.loss.arguments(batch))

    def get_config(self) -> dict:
        return {"name": self.name, "loss": keras.saving.serialize_keras_object(self.loss)}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
