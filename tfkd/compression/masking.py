"""Zeros that stay: masks over the kernels of plain Keras 3 models."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from tfkd.compression.bridged import Masked
from tfkd.compression.sparse import kernels


def magnitude_masks(model: keras.Model, sparsity: float) -> list[np.ndarray]:
    """Where the largest weights of a model are, all kernels together.

    Args:
        model: a Keras model.
        sparsity: share of the weights, zeros among them, to be masked, in [0, 1).

    Returns:
        An array of 0 and 1 for each of the model's kernels.
    """
    weights = [np.abs(kernel.numpy()) for kernel in kernels(model)]
    sizes = np.concatenate([weight.ravel() for weight in weights])
    count = round(sparsity * sizes.size)
    masked = np.zeros(sizes.size, bool)
    masked[np.argsort(sizes, kind="stable")[:count]] = True
    parts = np.split(~masked, np.cumsum([weight.size for weight in weights])[:-1])
    return [part.reshape(w.shape).astype("float32") for part, w in zip(parts, weights, strict=True)]


@contextlib.contextmanager
def masked(model: keras.Model, masks: list[np.ndarray]) -> Iterator[None]:
    """Sets what is masked to 0 and keeps it so after every update, while the block runs.

    Any optimizer of Keras applies constraints, so this works under every `fit` and distiller that was
    compiled within the block.

    Args:
        model: a Keras model.
        masks: what `magnitude_masks` gave.
    """
    constrained = kernels(model)
    before = [kernel.constraint for kernel in constrained]
    try:
        for kernel, mask in zip(constrained, masks, strict=True):
            kernel.assign(kernel * mask)
            kernel.constraint = Masked(mask, kernel.constraint)
        yield
    finally:
        for kernel, constraint in zip(constrained, before, strict=True):
            kernel.constraint = constraint
