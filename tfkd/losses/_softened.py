"""Losses with a temperature that may change during training."""

from typing import Any

import tensorflow as tf

from tfkd.losses._base import KnowledgeLoss, check_temperature


class SoftenedLoss(KnowledgeLoss):
    """A knowledge loss with a temperature.

    `temperature` can be set at any time and takes effect in the next step, without retracing, since steps
    read it from a variable. It is an option of the loss: it is part of `get_config`, not of the weights.

    Args:
        temperature: divides the logits; above 0.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive and finite.
    """

    def __init__(self, temperature: float, **kwargs) -> None:
        super().__init__(**kwargs)
        # In a loss created while a step is traced, it is a constant of that step.
        eagerly = tf.executing_eagerly()
        self._divisor = tf.Variable(tf.ones(()), trainable=False) if eagerly else None
        self.temperature = temperature

    @property
    def temperature(self) -> float:
        """The temperature that divides the logits."""
        return self._temperature

    @temperature.setter
    def temperature(self, temperature: float) -> None:
        self._temperature = check_temperature(temperature)
        if self._divisor is not None:
            self._divisor.assign(temperature)

    @property
    def divisor(self) -> Any:
        """The temperature as a float32 scalar, or a number, for `call`."""
        return self.temperature if self._divisor is None else self._divisor.value()

    def constants(self) -> dict[str, Any]:
        known = super().constants()
        del known["temperature"]
        return known

    def get_config(self) -> dict:
        return {**super().get_config(), "temperature": self.temperature}
