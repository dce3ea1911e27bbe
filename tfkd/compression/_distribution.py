"""How the zeros of a pruned model are distributed over its layers."""

from collections.abc import Mapping, Sequence

import numpy as np

from tfkd._core import names
from tfkd.compression._sparse import check_sparsity


def allocate_sparsity(
    kernels: Mapping[str, Sequence[np.ndarray]], sparsity: float, distribution: str = "uniform"
) -> dict[str, float]:
    """The sparsity of each layer, given the sparsity of all layers together.

    Args:
        kernels: for each layer its weights to be pruned, `(..., inputs, outputs)`.
        sparsity: the fraction of all these weights that becomes 0, in [0, 1).
        distribution: "uniform" for the same sparsity in each layer; "erk", which leaves small layers
            denser; or "lamp", by the importance of each weight relative to others in its layer.

    Returns:
        A sparsity in [0, 1) for each layer. With "lamp" the largest weight of a layer is always kept,
        whatever the sparsity.

    Raises:
        TypeError: if the distribution is not a string.
        ValueError: if the distribution is unknown, the sparsity is out of range, or there are no layers.

    Example:
        >>> allocate_sparsity({"conv": [conv], "dense": [dense]}, 0.8, "lamp")

    Reference:
        "erk": Erdős-Rényi-Kernel, Evci et al., "Rigging the Lottery", 2020, after Mocanu et al., 2018;
        "lamp": Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021. Deviations:
        sparsities are computed from the current weights, while masks may change later; several weights of
        a layer count as one kernel.
    """
    if not isinstance(distribution, str):
        raise TypeError(
            f"`distribution` must be one of {', '.join(map(repr, DISTRIBUTIONS))}. "
            f"Received: {distribution!r}."
        )
    check_sparsity(sparsity, "sparsity")
    if not kernels:
        raise ValueError(f"`kernels` must have at least one layer. Received: {kernels!r}.")
    return names.lookup(DISTRIBUTIONS, distribution, "distribution")(kernels, sparsity)


def _uniform(kernels, sparsity):
    return dict.fromkeys(kernels, sparsity)


def _erdos_renyi(kernels, sparsity):
    """Densities proportional to the sum of a kernel's sides divided by its size, at most 1."""
    sizes = {name: sum(weight.size for weight in weights) for name, weights in kernels.items()}
    sides = {name: sum(sum(weight.shape) for weight in weights) for name, weights in kernels.items()}
    kept, shares, sparse = (1 - sparsity) * sum(sizes.values()), dict.fromkeys(kernels, 0.0), set(kernels)
    while sparse:
        factor = kept / sum(sides[name] for name in sparse)
        full = {name for name in sparse if factor * sides[name] >= sizes[name]}
        if not full:
            return shares | {name: 1 - factor * sides[name] / sizes[name] for name in sparse}
        kept -= sum(sizes[name] for name in full)
        sparse -= full
    return shares


def _layer_adaptive(kernels, sparsity):
    """Removes the lowest LAMP scores over all layers: squares over the sum of all squares not smaller."""
    scores = []
    for weights in kernels.values():
        squares = np.sort(np.concatenate([np.ravel(weight) for weight in weights]).astype("float64") ** 2)
        rest = np.cumsum(squares[::-1])[::-1]
        # Without the largest weight, so that no layer is removed completely.
        scores.append((squares / np.maximum(rest, np.finfo("float64").tiny))[:-1])
    sizes = [score.size + 1 for score in scores]
    # Ranked, not thresholded, since all weights that are 0 already have equal scores.
    first = np.argsort(np.concatenate(scores), kind="stable")[: round(sparsity * sum(sizes))]
    layers = np.repeat(np.arange(len(sizes)), [score.size for score in scores])
    removed = np.bincount(layers[first], minlength=len(sizes))
    return {name: float(n / size) for name, n, size in zip(kernels, removed, sizes, strict=True)}


DISTRIBUTIONS = {"uniform": _uniform, "erk": _erdos_renyi, "lamp": _layer_adaptive}
