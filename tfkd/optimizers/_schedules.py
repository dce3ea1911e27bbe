"""Optimizers and learning rates that several recipes share."""

import keras


def warmed_up_cosine(peak: float, updates: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """A rate that rises for the first 5 % of the updates and then decays to 0 as a cosine.

    Args:
        peak: the highest rate, above 0.
        updates: of the whole run.

    Returns:
        A Keras schedule.
    """
    warmup = max(1, updates // 20)
    return keras.optimizers.schedules.CosineDecay(
        peak / 20, max(1, updates - warmup), warmup_target=peak, warmup_steps=warmup
    )


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
