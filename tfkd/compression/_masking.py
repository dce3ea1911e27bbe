"""Masks that keep weights of plain Keras 3 models at 0."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from tfkd._core.keras_versions import check_keras_3
from tfkd.compression._bridged import BridgedModel, Masked
from tfkd.compression._sparse import check_sparsity, kernels


def magnitude_masks(model: keras.Model, sparsity: float) -> list[np.ndarray]:
    """Masks of the largest weights in all kernels of a model together.

    Args:
        model: a Keras model.
        sparsity: the fraction of weights to mask, in [0, 1), including those that are 0 already; frozen
            weights do not count.

    Returns:
        An array of zeros and ones for each of the model's trainable kernels.

    Raises:
        ValueError: if the fraction is out of range, or the model has no trainable kernel.
    """
    check_sparsity(sparsity, "sparsity")
    weights = [np.abs(kernel.numpy()) for kernel in _trained(model)]
    if not weights:
        raise ValueError(f"`model`: {model.name!r} has no trainable kernel to mask.")
    sizes = np.concatenate([weight.ravel() for weight in weights])
    count = round(sparsity * sizes.size)
    masked = np.zeros(sizes.size, bool)
    masked[np.argsort(sizes, kind="stable")[:count]] = True
    parts = np.split(~masked, np.cumsum([weight.size for weight in weights])[:-1])
    return [part.reshape(w.shape).astype("float32") for part, w in zip(parts, weights, strict=True)]


@contextlib.contextmanager
def masked(model: keras.Model, masks: list[np.ndarray]) -> Iterator[None]:
    """Sets masked weights to 0, and keeps them at 0 after every update inside the block.

    All Keras optimizers apply constraints, so this works with any `fit` and any distiller that is compiled
    within the block; compile a distiller again afterwards.

    Args:
        model: a plain Keras model.
        masks: the result of `magnitude_masks`.

    Raises:
        TypeError: if the model is a student wrapped by tfmot.
        ValueError: if the masks do not match the model's trainable kernels.
    """
    if isinstance(model, BridgedModel):
        raise TypeError("`model` must be a plain Keras model; call tfkd.compression.strip on it first.")
    constrained = _trained(model)
    shapes = [tuple(kernel.shape) for kernel in constrained]
    if [np.shape(mask) for mask in masks] != shapes:
        raise ValueError(
            f"`masks` must have the shapes of the {len(shapes)} trainable kernels, {shapes}. Received: "
            f"{[np.shape(mask) for mask in masks]}."
        )
    before = [kernel.constraint for kernel in constrained]
    try:
        for kernel, mask in zip(constrained, masks, strict=True):
            kernel.assign(kernel * mask)
            kernel.constraint = Masked(mask, kernel.constraint)
        yield
    finally:
        for kernel, constraint in zip(constrained, before, strict=True):
            kernel.constraint = constraint
        # A traced step contains the masks.
        model.train_function = None


def _trained(model):
    check_keras_3("model", model)
    return [kernel for kernel in kernels(model) if kernel.trainable]
