"""Optimizers and learning-rate schedules shared by several recipes."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfkd")
class WarmedUpCosine(keras.optimizers.schedules.CosineDecay):
    """Linear warm-up, then cosine decay, without a conditional in a compiled step.

    Args:
        initial_learning_rate: learning rate of the first update.
        decay_steps: number of updates of the decay, at least 1.
        warmup_target: the peak learning rate.
        warmup_steps: number of warm-up updates, before the decay.
        alpha: final rate as a fraction of the peak.
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
    """A schedule with warm-up over the first 5 % of the updates, then cosine decay to 0.

    Args:
        peak: peak learning rate, above 0.
        updates: number of updates in the whole run.

    Returns:
        A Keras schedule.
    """
    warmup = max(1, updates // 20)
    return WarmedUpCosine(peak / 20, max(1, updates - warmup), warmup_target=peak, warmup_steps=warmup)


def cosine_nesterov(rate: float, updates: int) -> keras.optimizers.Optimizer:
    """Nesterov SGD with momentum 0.9 and cosine decay to 0.

    Args:
        rate: initial learning rate, above 0.
        updates: number of updates in the whole run.

    Returns:
        A new optimizer.
    """
    schedule = keras.optimizers.schedules.CosineDecay(rate, max(1, updates))
    return keras.optimizers.SGD(schedule, 0.9, nesterov=True)


def sgd_with_coupled_decay(
    rate: float | keras.optimizers.schedules.LearningRateSchedule, weight_decay: float
) -> keras.optimizers.Optimizer:
    """SGD with momentum 0.9 and weight decay added to the gradient, as in PyTorch.

    Keras decouples weight decay from the momentum. In the long run that decay is a tenth as strong as decay
    that passes through a momentum of 0.9.

    Args:
        rate: learning rate or schedule.
        weight_decay: weight decay as defined by PyTorch.

    Returns:
        A new optimizer.
    """
    momentum = 0.9
    return keras.optimizers.SGD(rate, momentum, weight_decay=weight_decay / (1 - momentum))
