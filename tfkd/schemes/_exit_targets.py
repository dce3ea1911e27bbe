"""Losses between exits beyond `tfkd.losses.within`: all exits at once, and ensembles."""

from collections.abc import Sequence

import keras
from keras import ops

from tfkd._core.checks import check_number
from tfkd._core.keras_internals import mask_of, with_mask
from tfkd.losses import KnowledgeLoss, as_float32, soft_targets
from tfkd.losses._base import check_temperature
from tfkd.losses._softened import SoftenedLoss


@keras.saving.register_keras_serializable(package="tfkd")
class LastExitTargets(KnowledgeLoss):
    """Soft targets of one exit for several others; the temperature grows while it is confident.

    The sum over the exits of the divergence KL(last || exit) times the squared temperature, one value per
    example. After each training step the temperature grows if the mean of the last exit's largest softened
    probability is above `confidence`. It is a variable, which is saved with the distiller.

    Args:
        last: tap of the exit that provides the targets; no gradient flows back through it.
        exits: taps of the exits that are trained.
        temperature: initial divisor of the logits, above 0.
        growth: growth factor of the temperature, at least 1; 1 for a fixed one.
        confidence: mean largest probability below which it stops growing, in (0, 1).
        name: names the loss in `History`.

    Raises:
        ValueError: if a number is out of its range.

    Reference:
        Phuong, Lampert, "Distillation-Based Training for Multi-Exit Architectures", 2019.
    """

    over_classes = True
    uses_teacher = False
    within_student = True
    takes_structures = True

    def __init__(
        self,
        last: str,
        exits: Sequence[str],
        temperature: float = 1.0,
        growth: float = 1.05,
        confidence: float = 0.5,
        name: str = "exit_targets",
    ) -> None:
        super().__init__(last, list(exits), name=name)
        self.first_temperature = check_temperature(temperature)
        self.growth = check_number("growth", growth, least=1)
        self.confidence = check_number("confidence", confidence, above=0, below=1)
        self.temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(temperature),
            trainable=False,
            name="temperature",
            aggregation="mean",
        )

    def call(self, teacher, student, training=None):
        temperature = ops.convert_to_tensor(self.temperature)
        teacher = ops.stop_gradient(as_float32(teacher, "teacher"))
        values = sum(soft_targets(teacher, exit_logits, temperature) for exit_logits in student)
        if training and self.growth > 1:
            sure = ops.mean(ops.max(ops.softmax(teacher / temperature, axis=-1), axis=-1))
            grown = ops.where(sure > self.confidence, self.growth * temperature, temperature)
            self.temperature.assign(grown)
        return values

    def get_config(self) -> dict:
        return {
            "last": self.teacher_layer,
            "exits": self.student_layer,
            "temperature": self.first_temperature,
            "growth": self.growth,
            "confidence": self.confidence,
            "name": self.name,
        }


@keras.saving.register_keras_serializable(package="tfkd")
class EnsembleTargets(SoftenedLoss):
    """Soft targets from the mean of the exits' logits, without a gradient, for each exit.

    The sum over the exits of the divergence KL(mean || exit) times the squared temperature, one value per
    example.

    Args:
        exits: taps of all exits, including the last.
        temperature: divides the logits; above 0.
        name: names the loss in `History`.

    Raises:
        ValueError: if the temperature is not positive.

    Reference:
        Lee, Lee, "Students are the Best Teacher: Exit-Ensemble Distillation with Multi-Exits", 2021.
    """

    over_classes = True
    uses_teacher = False
    takes_structures = True

    def __init__(
        self, exits: Sequence[str], temperature: float = 3.0, name: str = "ensemble_targets"
    ) -> None:
        super().__init__(temperature, student_layer=list(exits), name=name)

    def call(self, teacher, student):
        mean = ops.stop_gradient(mean_logits(student))
        return sum(soft_targets(mean, exit_logits, self.divisor) for exit_logits in student)

    def get_config(self) -> dict:
        return {"exits": self.student_layer, "temperature": self.temperature, "name": self.name}


def mean_logits(outputs: Sequence):
    """The mean of all exits' logits, in float32, with the mask of the last."""
    mean = sum(as_float32(output, "student") for output in outputs) / len(outputs)
    return with_mask(mean, mask_of(outputs[-1]))
