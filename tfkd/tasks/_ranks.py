"""Rank correlation."""

import numpy as np


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; equal values share their mean rank.

    Args:
        a: numbers `(n,)`.
        b: numbers `(n,)`.

    Returns:
        A number from -1 to 1; 0 if all numbers of either argument are equal.
    """
    ranks = [_ranks(np.asarray(each, "float64")) for each in (a, b)]
    x, y = (each - each.mean() for each in ranks)
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else 0.0


def _ranks(values):
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
