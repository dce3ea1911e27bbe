"""A narrow student with the parameters that pruning left."""

import keras
import numpy as np

from tfkd._core.graphs import first_upstream, has_graph
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_3
from tfkd.students._inheritance import WIDTHS, Channels, kernel_that_makes
from tfkd.students._scaling import resized

# Of Newton's method, which concatenated inputs need.
_PASSES = 10


def from_sparsity(pruned: keras.Model, dropout: bool = False, name: str | None = None) -> keras.Model:
    """A dense student of the same depth with about as many weights as a pruned model has left.

    A layer that keeps `n` of its weights and takes `c` channels through kernels of `k` by `k` gets
    `n / (c k k)` channels, where `c` is what the student's layer before gets. Where an Add joins layers,
    they cannot all have what they ask for; what they get is closest by the sum of squared logarithms.
    Widths are rounded at the end, so that very narrow students miss the count; a layer that kept much
    behind one that kept little becomes wider than it was. The layer that makes the outputs stays as wide
    as it is, and of a separable convolution the pointwise kernel counts.

    Args:
        pruned: a functional or Sequential model with zeros in its kernels, such as `iterative_pruning` or
            `strip(prune(...))` leave.
        dropout: whether dropout layers keep their rates, see `scale_width`.
        name: of the student; None for the model's with "_from_sparsity" appended.

    Returns:
        A newly initialized model with the same input and output shapes.

    Raises:
        ValueError: if the model has no graph or no zeros, all of a layer is pruned, a layer's width cannot
            be changed, or channels cannot be followed through one; the message names it.

    Example:
        >>> student = tfkd.students.from_sparsity(pruned_teacher)

    Reference:
        Park and No, "Prune Your Model Before Distill It", 2022: `c_0 = n_0 / (3 k k)`,
        `c_l = n_l / (c_(l-1) k k)`. Their code divides by 3 where k k is 9; this divides by k k. Deviation:
        joined layers, which their networks for this do not have.
    """
    check_keras_3("pruned", pruned)
    if not has_graph(pruned):
        raise ValueError(f"`pruned` must be functional or a built Sequential model. Received: {pruned}.")
    channels = Channels(pruned)
    layers = {id(layer): layer for layer in flatten_layers(pruned) if type(layer) in WIDTHS}
    kernels = {key: kernel_that_makes(layer).numpy() for key, layer in layers.items()}
    if empty := [layer.name for key, layer in layers.items() if not kernels[key].any()]:
        raise ValueError(f"`pruned`: nothing is left of {', '.join(empty)}. Prune less.")
    if all(kernel.all() for kernel in kernels.values()):
        raise ValueError(
            f"`pruned`: {pruned.name!r} has no zeros in its kernels. Use tfkd.students.scale_width, or "
            "prune it first."
        )
    fixed = {id(operation) for operation in first_upstream(pruned, lambda op: type(op) in WIDTHS)}
    if fixed >= layers.keys():
        raise ValueError(f"`pruned`: {pruned.name!r} has no hidden layer whose width could be changed.")
    shares = _shares(channels, kernels, fixed)

    def width_of(layer, width):
        group = channels.groups(channels.made[id(layer)])[0]
        return max(1, round(width * shares.get(group, 1.0)))

    return resized(
        pruned,
        width_of,
        "at the widths that their zeros ask for",
        dropout,
        name or f"{pruned.name}_from_sparsity",
    )


def _shares(channels, kernels, fixed):
    """The share of its width that each group of joined channels keeps.

    Each layer asks that the shares of what it takes and makes have the product of its density. In
    logarithms that is linear but for concatenated inputs. Residual stages ask for too much and for too
    little at once: the least squares of smallest norm stay near the same share everywhere.
    """
    made = {key: channels.groups(channels.made[key]) for key in kernels}
    outputs = {made[key][0] for key in kernels if key in fixed}
    free = sorted({made[key][0] for key in kernels} - outputs)
    places = {group: place for place, group in enumerate(free)}
    # Each channel of a layer's output is known by a number of its own; one stands for all.
    place_of = {
        number: places[made[key][0]] for key in kernels if made[key][0] in places for number in made[key]
    }
    asking = [key for key in kernels if made[key][0] in places]
    left = {key: np.count_nonzero(kernels[key]) for key in asking}
    densities = {key: left[key] / kernels[key].size for key in asking}
    overall = sum(left.values()) / sum(kernels[key].size for key in asking)
    logs = np.full(len(free), np.log(overall) / 2)
    for _ in range(_PASSES):
        slopes, residuals = np.zeros((len(asking), len(free))), np.zeros(len(asking))
        for row, key in enumerate(asking):
            own = places[made[key][0]]
            parts = [place_of.get(number) for number in channels.groups(channels.taken[key])]
            taken = np.array([1.0 if part is None else np.exp(logs[part]) for part in parts])
            slopes[row, own] = 1.0
            for part, share in zip(parts, taken / taken.sum(), strict=True):
                if part is not None:
                    slopes[row, part] += share
            residuals[row] = np.log(densities[key]) - logs[own] - np.log(taken.mean())
        logs += np.linalg.lstsq(slopes, residuals, rcond=None)[0]
    return {group: float(np.exp(logs[place])) for group, place in places.items()}
