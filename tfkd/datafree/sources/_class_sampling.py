"""Synthesized images of given classes: the most confident of many candidates."""

from collections.abc import Callable

import numpy as np

_ROUNDS = 20


def most_confident(draw: Callable, labels: np.ndarray, classes: int, batch_size: int) -> np.ndarray:
    """The requested number of images for each class: the candidates with the highest probabilities.

    Args:
        draw: a function from target classes `(batch_size,)` to `(images, log-probabilities)` of candidates.
        labels: int32 classes `(n,)`.
        classes: the number of classes.
        batch_size: the number of candidates per draw.

    Returns:
        Images in the order of the labels.
    """
    wanted = np.bincount(labels, minlength=classes)
    best = [None] * classes
    for _ in range(_ROUNDS * -(-len(labels) // batch_size)):
        sure = [0 if found is None else np.sum(found[1] > np.log(0.9)) for found in best]
        missing = np.flatnonzero(sure < wanted)
        if not len(missing):
            break
        targets = np.resize(missing, batch_size).astype("int32")
        images, log_p = (np.asarray(values) for values in draw(targets))
        best = [
            _kept(found, images, log_p[:, c], n)
            for c, (found, n) in enumerate(zip(best, wanted, strict=True))
        ]
    chosen = np.concatenate([images for images, _ in filter(None, best)])
    return chosen[np.argsort(np.argsort(labels, kind="stable"), kind="stable")]


def _kept(found, images, scores, n):
    """The `n` images with the highest scores among old and new ones, and their scores."""
    if found is not None:
        images, scores = np.concatenate([found[0], images]), np.concatenate([found[1], scores])
    first = np.argsort(-scores, kind="stable")[:n]
    return images[first], scores[first]
