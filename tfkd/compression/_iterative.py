"""Pruning in rounds, each with retraining from an earlier learning rate."""

import numbers
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tfkd._core.graphs import copy_weights
from tfkd._core.keras_versions import check_keras_3
from tfkd.compression._masking import magnitude_masks, masked

_MOMENTUM = 0.9
# Keras decouples weight decay from momentum, which would multiply it by ten.
_WEIGHT_DECAY = 2e-4 / (1 - _MOMENTUM)


def step_decay(epoch: int, epochs: int, peak: float = 0.1) -> float:
    """The published learning rate, which is divided by 10 after 30 % and after 65 % of the epochs.

    Args:
        epoch: the epoch, counted from 0.
        epochs: the number of epochs.
        peak: the initial learning rate.
    """
    return peak * 0.1 ** ((epoch >= round(0.3 * epochs)) + (epoch >= round(0.65 * epochs)))


def iterative_pruning(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    rounds: int,
    per_round: float = 0.2,
    epochs: int = 130,
    rewind_epoch: int = 0,
    learning_rate: Callable[[int], float] | None = None,
    loss: keras.losses.Loss | str | None = None,
    batch_size: int = 128,
    validation_data: tuple | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int = 1,
) -> keras.Model:
    """Prunes a trained model in rounds: removes its smallest weights and retrains the others.

    Each round removes a fraction of the remaining weights, smallest first over all kernels, and trains the
    rest with the learning rates from `rewind_epoch` on. Weights are not rewound.

    Args:
        model: a trained Keras model from inputs to logits; it is not changed.
        x: training inputs.
        y: class indices `(n,)`.
        rounds: the number of rounds, at least 1; `n` rounds leave `(1 - per_round) ** n` of the weights.
        per_round: the fraction of the remaining weights that is removed in each round, in (0, 1).
        epochs: the length of the learning-rate schedule.
        rewind_epoch: the epoch of the schedule at which each round starts, so that it trains for
            `epochs - rewind_epoch` epochs.
        learning_rate: a function from the epoch, counted from 0, to the learning rate; None for
            `step_decay`, which starts with 0.1.
        loss: the loss; None for the cross-entropy of logits.
        batch_size: the batch size.
        validation_data: passed to `fit`.
        callbacks: passed to `fit` in every round.
        verbose: passed to `fit`.

    Returns:
        A plain Keras 3 model with a `compression.sparsity` of about `1 - (1 - per_round) ** rounds`.

    Raises:
        TypeError: if a number has the wrong type.
        ValueError: if a number is out of range, or inputs and labels differ in number.

    Example:
        >>> pruned = tfkd.compression.iterative_pruning(teacher, x, y, rounds=4, epochs=20)
        >>> student = tfkd.students.from_sparsity(pruned)

    Reference:
        Renda et al., "Comparing Rewinding and Fine-tuning in Neural Network Pruning", 2020, and Park and
        No, "Prune Your Model Before Distill It", 2022: SGD with Nesterov momentum 0.9, weight decay 2e-4,
        130 epochs, learning rates 0.1, 0.01 and 0.001 from epochs 0, 39 and 84 on.
    """
    check_keras_3("model", model)
    _check(rounds, per_round, epochs, rewind_epoch, x, y)
    rate = learning_rate or (lambda epoch: step_decay(epoch, epochs))
    pruned = keras.models.clone_model(model)
    copy_weights(model, pruned)
    for number in range(1, rounds + 1):
        with masked(pruned, magnitude_masks(pruned, 1 - (1 - per_round) ** number)):
            # Compiled within the block: a step traced earlier would use other masks.
            optimizer = keras.optimizers.SGD(
                rate(rewind_epoch), _MOMENTUM, nesterov=True, weight_decay=_WEIGHT_DECAY
            )
            pruned.compile(optimizer, loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True))
            pruned.fit(
                x,
                y,
                batch_size=batch_size,
                initial_epoch=rewind_epoch,
                epochs=epochs,
                validation_data=validation_data,
                callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, _: rate(epoch)), *callbacks],
                verbose=verbose,
            )
    pruned.name = f"{model.name}_pruned"
    return pruned


def _check(rounds, per_round, epochs, rewind_epoch, x, y):
    for name, value in {"rounds": rounds, "epochs": epochs, "rewind_epoch": rewind_epoch}.items():
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(f"`{name}` must be an integer. Received: {value!r}.")
    if rounds < 1:
        raise ValueError(f"`rounds` must be at least 1. Received: {rounds}.")
    if not 0 < per_round < 1:
        raise ValueError(
            f"`per_round` must be above 0 and below 1: it is a fraction. Received: {per_round!r}."
        )
    if not 0 <= rewind_epoch < epochs:
        raise ValueError(
            f"`rewind_epoch` must be one of the {epochs} epochs, counted from 0. Received: {rewind_epoch}."
        )
    if len(x) != len(y):
        raise ValueError(
            f"`x` and `y` must have the same length. Received: {len(x)} inputs and {len(y)} labels."
        )
