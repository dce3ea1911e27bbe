"""Losses with a temperature that may change while they train."""

from typing import Any

import tensorflow as tf

from tfkd.losses._base import KnowledgeLoss, check_temperature


class SoftenedLoss(KnowledgeLoss):
    """A knowledge loss with a temperature.

    `temperature` can be set at any time and holds from the next step on, without a new trace, since steps
    read it from a variable. It is an option of the loss, so `get_config` has it and weights do not.

    Args:
        temperature: what logits are divided by, above 0.
        **kwargs: `teacher_layer`, `student_layer`, `name`.

    Raises:
        ValueError: if the temperature is not positive and finite.
    """

    def __init__(self, temperature: float, **kwargs) -> None:
        super().__init__(**kwargs)
        # A loss that is made while a step is traced is a constant of that step.
        eagerly = tf.executing_eagerly()
        self._divisor = tf.Variable(tf.ones(()), trainable=False) if eagerly else None
        self.temperature = temperature

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
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
