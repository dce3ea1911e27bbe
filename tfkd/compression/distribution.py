"""How the zeros of a pruned model are spread over its layers."""

from collections.abc import Mapping, Sequence

import numpy as np

from tfkd import names


def spread(
    kernels: Mapping[str, Sequence[np.ndarray]], sparsity: float, distribution: str = "uniform"
) -> dict[str, float]:
    """The sparsity of each layer, for one of all of them together.

    Args:
        kernels: for each layer its weights to be pruned, `(..., inputs, outputs)`.
        sparsity: share of all these weights that becomes 0, in [0, 1).
        distribution: "uniform", the same for each layer; "erk", which leaves small layers dense; or "lamp",
            by how much each weight matters among those of its layer.

    Returns:
        A share in [0, 1) for each layer.

    Raises:
        ValueError: for an unknown distribution.

    Example:
        >>> spread({"conv": [conv], "dense": [dense]}, 0.8, "lamp")

    Reference:
        "erk": Erdős-Rényi-Kernel, Evci et al., "Rigging the Lottery", 2020, after Mocanu et al., 2018;
        "lamp": Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning", 2021.
    """
    return names.lookup(DISTRIBUTIONS, distribution, "distribution")(kernels, sparsity)


def _uniform(kernels, sparsity):
    return dict.fromkeys(kernels, sparsity)


def _erdos_renyi(kernels, sparsity):
    """Densities in proportion to the sum of a kernel's sides over its size, 1 at most."""
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
    """What a threshold over all layers removes; scores are squares over the sum of all not smaller."""
    scores = {}
    for name, weights in kernels.items():
        squares = np.sort(np.concatenate([np.ravel(weight) for weight in weights]).astype("float64") ** 2)
        rest = np.cumsum(squares[::-1])[::-1]
        scores[name] = squares / np.maximum(rest, np.finfo("float64").tiny)
        # The largest weight of a layer stays, so that no layer goes altogether.
        scores[name][-1] = 1.0
    everything = np.sort(np.concatenate(list(scores.values())))
    count = round(sparsity * everything.size)
    threshold = everything[count] if count else -1.0
    return {name: float(np.mean(score < threshold)) for name, score in scores.items()}


DISTRIBUTIONS = {"uniform": _uniform, "erk": _erdos_renyi, "lamp": _layer_adaptive}
