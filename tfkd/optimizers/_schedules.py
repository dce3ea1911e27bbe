"""Optimizers and learning rates that several recipes share."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfkd")
class WarmedUpCosine(keras.optimizers.schedules.CosineDecay):
    """A rate that rises linearly and then decays as a cosine; in a compiled step it leaves no conditional.

    Args:
        initial_learning_rate: the rate of the first update.
        decay_steps: updates in which the rate decays, at least 1.
        warmup_target: the highest rate.
        warmup_steps: updates in which the rate rises, before those in which it decays.
        alpha: the last rate's share of the highest one.
        name: name of the schedule.

    Example:
        >>> rate = tfkd.optimizers.WarmedUpCosine(0.0, 900, warmup_target=1e-2, warmup_steps=100)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        *,
        warmup_target: float,
        warmup_steps: int,
        alpha: float = 0.0,
        name: str = "WarmedUpCosine",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, alpha, name, warmup_target, warmup_steps)

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = self.warmup_target - self.initial_learning_rate
        rising = self.initial_learning_rate + rise * step / max(1, self.warmup_steps)
        done = ops.clip((step - self.warmup_steps) / self.decay_steps, 0.0, 1.0)
        cosine = 0.5 * (1.0 + ops.cos(math.pi * done))
        falling = self.warmup_target * ((1.0 - self.alpha) * cosine + self.alpha)
        return ops.where(step < self.warmup_steps, rising, falling)


def warmed_up_cosine(peak: float, updates: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """A rate that rises for the first 5 % of the updates and then decays to 0 as a cosine.

    Args:
        peak: the highest rate, above 0.
        updates: of the whole run.

    Returns:
        A Keras schedule.
    """
    warmup = max(1, updates // 20)
    return WarmedUpCosine(peak / 20, max(1, updates - warmup), warmup_target=peak, warmup_steps=warmup)


def cosine_nesterov(rate: float, updates: int) -> keras.optimizers.Optimizer:
    """Nesterov SGD with momentum 0.9 whose rate decays to 0 as a cosine.

    Args:
        rate: learning rate at the beginning, above 0.
        updates: of the whole run.

    Returns:
        A new optimizer.
    """
    schedule = keras.optimizers.schedules.CosineDecay(rate, max(1, updates))
    return keras.optimizers.SGD(schedule, 0.9, nesterov=True)


def sgd_with_coupled_decay(
    rate: float | keras.optimizers.schedules.LearningRateSchedule, weight_decay: float
) -> keras.optimizers.Optimizer:
    """SGD with momentum 0.9 and weight decay in the gradient, as PyTorch has it.

    Keras decays weights apart from the momentum, which in the long run takes a tenth of what decay
    that goes through a momentum of 0.9 takes.

    Args:
        rate: learning rate or schedule.
        weight_decay: PyTorch's.

    Returns:
        A new optimizer.
    """
    momentum = 0.9
    return keras.optimizers.SGD(rate, momentum, weight_decay=weight_decay / (1 - momentum))
