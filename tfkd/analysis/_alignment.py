"""CKA: the similarity of the representations in two networks' layers."""

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from tfkd._core.checks import check_int
from tfkd.analysis._figures import new_figure, save_figure
from tfkd.analysis._tapped import tapped

# The unbiased estimator divides by n - 3.
_FEWEST = 4


def cka(
    first: keras.Model,
    second: keras.Model,
    inputs: Any,
    first_taps: Sequence[str],
    second_taps: Sequence[str],
    batch_size: int = 256,
) -> np.ndarray:
    """Linear centred kernel alignment (CKA) of every layer of one network with every layer of another.

    CKA is 1 for representations that differ only in rotation and scale, and about 0 for unrelated ones; the
    estimate may lie slightly outside this range. It is unbiased for each batch, so small batches, which
    large feature maps may require, do not inflate it.

    Args:
        first: any Keras model.
        second: another model, or the same one.
        inputs: an array `(n, ...)`, or several in the structure of the models' inputs; at least 4 examples.
        first_taps: paths of layers in the first model, as `tfkd.taps.record` takes them; features are
            flattened.
        second_taps: paths of layers in the second model.
        batch_size: the number of examples compared at once, at least 4.

    Returns:
        float64 `(len(first_taps), len(second_taps))`; NaN for constant features.

    Raises:
        ValueError: if a path is not in its model, or there are too few examples.

    Example:
        >>> taps = ["conv1", "conv2", "dense"]
        >>> tfkd.analysis.cka(teacher, student, x_test[:1024], taps, taps)

    Reference:
        Kornblith et al., "Similarity of Neural Network Representations Revisited", 2019, with the unbiased
        estimator over batches of Nguyen et al., "Do Wide and Deep Networks Learn the Same Things?", 2021.
    """
    check_int("batch_size", batch_size, _FEWEST)
    n = len(tree.flatten(inputs)[0])
    if n < _FEWEST:
        raise ValueError(f"`inputs` must have at least {_FEWEST} examples. Received: {n}.")
    asked = tapped(first, first_taps), tapped(second, second_taps)
    sums = np.zeros(3, object)
    # Each batch must keep at least `_FEWEST` examples.
    for rows in np.array_split(np.arange(n), min(-(-n // batch_size), n // _FEWEST)):
        batch = tree.map_structure(lambda array, rows=rows: np.asarray(array)[rows], inputs)
        ours, theirs = ([_gram(values.numpy()) for values in features(batch)] for features in asked)
        sums[0] += np.array([[_hsic(a, b) for b in theirs] for a in ours])
        sums[1] += np.array([_hsic(a, a) for a in ours])
        sums[2] += np.array([_hsic(b, b) for b in theirs])
    between, within_first, within_second = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        return between / np.sqrt(np.outer(within_first, within_second))


def _gram(features):
    """Inner products of the examples' features, with zeros on the diagonal.

    Centring does not change the estimate, but keeps rounding errors small.
    """
    rows = features.reshape(len(features), -1).astype("float64")
    rows = rows - rows.mean(axis=0)
    gram = rows @ rows.T
    np.fill_diagonal(gram, 0)
    return gram


def _hsic(a, b):
    """The unbiased estimator of the Hilbert-Schmidt independence criterion."""
    n = len(a)
    total = a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * a.sum(axis=0) @ b.sum(axis=0)
    return (np.sum(a * b) + total) / (n * (n - 3))


def cka_plot(
    matrix: np.ndarray, path: str | os.PathLike, first_taps: Sequence[str], second_taps: Sequence[str]
) -> None:
    """Draws the matrix that `cka` returned, with its values.

    Args:
        matrix: `(len(first_taps), len(second_taps))`.
        path: the image file to write.
        first_taps: names of the rows.
        second_taps: names of the columns.

    Raises:
        ImportError: if matplotlib is missing.
        ValueError: if the numbers of names do not match the matrix.

    Example:
        >>> cka_plot(cka(teacher, student, x, taps, taps), "cka.png", taps, taps)
    """
    if np.shape(matrix) != (len(first_taps), len(second_taps)):
        raise ValueError(
            f"`matrix` must have shape {(len(first_taps), len(second_taps))}, a row for each of "
            f"`first_taps` and a column for each of `second_taps`. Received: shape {np.shape(matrix)}."
        )
    figure, axes = new_figure(0.8 * len(second_taps) + 2, 0.6 * len(first_taps) + 1.6)
    axis = axes[0, 0]
    axis.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
    axis.set_xticks(range(len(second_taps)), second_taps, rotation=45, ha="right")
    axis.set_yticks(range(len(first_taps)), first_taps)
    for (row, column), value in np.ndenumerate(matrix):
        color = "white" if value < 0.6 else "black"
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
    save_figure(figure, path)
