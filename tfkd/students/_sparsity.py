"""A narrow student with as many parameters as pruning left."""

import keras
import numpy as np

from tfkd._core.graphs import first_upstream, has_graph
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_3
from tfkd.students._inheritance import WIDTHS, Channels, kernel_that_makes
from tfkd.students._scaling import resized

# Iterations of Newton's method, needed for concatenated inputs.
_PASSES = 10


def from_sparsity(pruned: keras.Model, dropout: bool = False, name: str | None = None) -> keras.Model:
    """A dense student of the same depth with about as many weights as a pruned model has nonzero.

    A layer with `n` remaining weights, `c` input channels in the student and kernels of `k` by `k` gets `n
    / (c k k)` channels. Layers joined by an Add cannot all have their ideal width; they get the widths
    closest in the sum of squared logarithms. Widths are rounded at the end, so very narrow students deviate
    from the count. A layer that kept many weights after one that kept few becomes wider than before. The
    output layer keeps its width; for a separable convolution, the pointwise kernel counts.

    Args:
        pruned: a functional or Sequential model with zeros in its kernels, as from `iterative_pruning` or
            `strip(prune(...))`.
        dropout: whether dropout layers keep their rates, see `scale_width`.
        name: name of the student; None for the model's name with "_from_sparsity" appended.

    Returns:
        A newly initialized model with the same input and output shapes.

    Raises:
        ValueError: if the model has no graph or no zeros, a layer is entirely pruned, a layer's width
            cannot be changed, or channels cannot be followed through a layer; the message names it.

    Example:
        >>> student = tfkd.students.from_sparsity(pruned_teacher)

    Reference:
        Park and No, "Prune Your Model Before Distill It", 2022: `c_0 = n_0 / (3 k k)`, `c_l = n_l /
        (c_(l-1) k k)`. Their code divides by 3 where k k is 9; here it is k k. Deviation: joined layers are
        supported, which their networks do not have.
    """
    check_keras_3("pruned", pruned)
    if not has_graph(pruned):
        raise ValueError(f"`pruned` must be functional or a built Sequential model. Received: {pruned}.")
    channels = Channels(pruned)
    layers = {id(layer): layer for layer in flatten_layers(pruned) if type(layer) in WIDTHS}
    kernels = {key: kernel_that_makes(layer).numpy() for key, layer in layers.items()}
    if empty := [layer.name for key, layer in layers.items() if not kernels[key].any()]:
        raise ValueError(f"`pruned`: all weights of {', '.join(empty)} are 0. Prune less.")
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
        "at the widths given by their zeros",
        dropout,
        name or f"{pruned.name}_from_sparsity",
    )


def _shares(channels, kernels, fixed):
    """The fraction of its width that each group of joined channels keeps.

    For each layer, the product of its input and output fractions should equal its density. In logarithms
    this is linear, except for concatenated inputs. Residual stages make the system both over- and
    underdetermined: the minimum-norm least-squares solution keeps the fractions similar everywhere.
    """
    made = {key: channels.groups(channels.made[key]) for key in kernels}
    outputs = {made[key][0] for key in kernels if key in fixed}
    free = sorted({made[key][0] for key in kernels} - outputs)
    places = {group: place for place, group in enumerate(free)}
    # Each channel of a layer's output has its own number; one represents all.
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
