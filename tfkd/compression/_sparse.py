"""Measures the sparsity of models."""

import keras
import numpy as np

from tfkd import taps
from tfkd._core.keras_versions import check_keras_3
from tfkd.compression._bridged import BridgedModel
from tfkd.compression._layer_options import is_kernel
from tfkd.compression._stripping import plain_model


def sparsity(model: keras.Model) -> float:
    """The fraction of zeros in a model's kernels.

    Args:
        model: a Keras model, or a student from `prune` or `quantize_aware`.

    Returns:
        A number in [0, 1]; biases and normalization weights do not count.

    Example:
        >>> tfkd.compression.sparsity(student)
        0.8
    """
    if isinstance(model, BridgedModel):
        model = plain_model(model)
    check_keras_3("model", model)
    weights = [np.asarray(weight) for weight in kernels(model)]
    return float(sum(np.sum(w == 0) for w in weights) / max(1, sum(w.size for w in weights)))


def check_sparsity(share: float, argument: str) -> None:
    """Raises ValueError if a sparsity is out of range."""
    if not 0 <= share < 1:
        raise ValueError(
            f"`{argument}` must be at least 0 and below 1: it is a fraction. Received: {share!r}."
        )


def check_zeros(model: keras.Model, argument: str) -> None:
    """Raises ValueError if a model has no zeros to preserve."""
    if not sparsity(model):
        raise ValueError(
            f"`{argument}`: {model.name!r} has no zeros to preserve. Prune it first: strip(prune(model, "
            "...)) after training."
        )


def kernels(model: keras.Model) -> list[keras.Variable]:
    """The kernels of a model, which can be pruned; each is listed once.

    Args:
        model: a Keras model.
    """
    unique = {id(weight): weight for layer in taps.named_layers(model).values() for weight in layer.weights}
    return [weight for weight in unique.values() if is_kernel(weight)]
