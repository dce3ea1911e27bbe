"""Visual concepts: the pixels that a layer preserves, and how a network learns them in training."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tfkd._core.checks import check_number
from tfkd._core.snapshots import preserving_state
from tfkd.analysis._entropies import EntropyProbe


class Concepts(NamedTuple):
    """The visual concepts of images.

    Args:
        where: bool `(n, height, width)`, the pixels that are visual concepts.
        foreground: the number of concepts on each image's foreground, int64 `(n,)`.
        background: the number on each image's background, int64 `(n,)`.
    """

    where: np.ndarray
    foreground: np.ndarray
    background: np.ndarray

    @property
    def ratio(self) -> float:
        """Lambda, the share of concepts on the foreground: the mean over images that have any concepts."""
        total = self.foreground + self.background
        return _mean_ratio(self.foreground, total)


def visual_concepts(entropies: np.ndarray, foreground: np.ndarray, threshold: float = 0.2) -> Concepts:
    """The pixels whose entropy is below the mean of the background by more than a threshold.

    Args:
        entropies: pixel-wise entropies `(n, height, width)`, as an `EntropyProbe` returns them.
        foreground: bool, of the same shape; each image must have some background.
        threshold: the threshold in nats, above 0; the paper's b.

    Returns:
        A `Concepts`.

    Raises:
        ValueError: if shapes differ, or an image has no background.

    Example:
        >>> concepts = tfkd.analysis.visual_concepts(probe(images), images[..., 0] > 0.1)
        >>> concepts.foreground.mean(), concepts.ratio

    Reference:
        Cheng et al., "Explaining Knowledge Distillation by Quantifying the Knowledge", 2020.
    """
    check_number("threshold", threshold, above=0)
    entropies, foreground = np.asarray(entropies), _checked(foreground, np.shape(entropies))
    behind = ~foreground
    baseline = np.sum(entropies * behind, axis=(1, 2)) / behind.sum(axis=(1, 2))
    where = baseline[:, None, None] - entropies > threshold
    return Concepts(where, (where & foreground).sum(axis=(1, 2)), (where & behind).sum(axis=(1, 2)))


class Knowledge(NamedTuple):
    """How the knowledge of a layer grew over training.

    Args:
        foreground: the number of concepts on the foreground, int64 `(epochs, n)`.
        background: the number of concepts on the background, int64 `(epochs, n)`.
        distance: the distance that the weights had travelled by the end of each epoch, `(epochs,)`: the sum
            of the distances between epochs, in units of the norm of the weights before training.
        ratio: lambda at the end of training, the share of concepts on the foreground.
        distance_mean: D_mean, the mean over images of the distance at which the foreground has the most
            concepts: small if concepts are learned fast.
        distance_std: D_std, its standard deviation: small if concepts are learned at the same time.
        stability: rho, the fraction of the foreground concepts of all epochs that are present at the end;
            the mean over images that have any.
    """

    foreground: np.ndarray
    background: np.ndarray
    distance: np.ndarray
    ratio: float
    distance_mean: float
    distance_std: float
    stability: float


def knowledge(
    probe: EntropyProbe,
    snapshots: Sequence[Sequence[np.ndarray]],
    images: np.ndarray,
    foreground: np.ndarray,
    threshold: float = 0.2,
) -> Knowledge:
    """Counts the visual concepts of a layer after each epoch of training.

    Args:
        probe: a probe of the network and the layer; the network's weights are restored afterwards.
        snapshots: weights before training and after each epoch, as in `KeepSnapshots.weights`.
        images: `(n, height, width, channels)`, at least two.
        foreground: bool `(n, height, width)`.
        threshold: the threshold in nats, above 0; see `visual_concepts`.

    Returns:
        A `Knowledge`.

    Raises:
        ValueError: if there are fewer than two snapshots, or shapes do not match.

    Example:
        >>> probe = tfkd.analysis.EntropyProbe(student, "dense")
        >>> tfkd.analysis.knowledge(probe, snapshots.weights, images, images[..., 0] > 0.1).stability

    Reference:
        Cheng et al., "Explaining Knowledge Distillation by Quantifying the Knowledge", 2020. Distances are
        between trainable weights; if several epochs tie for the most concepts, the first one counts.
    """
    if len(snapshots) < 2:
        raise ValueError(
            "`snapshots` must be the weights before training and after at least one epoch. Received: "
            f"{len(snapshots)} snapshots."
        )
    foreground = _checked(foreground, np.shape(images)[:3])
    concepts = []
    with preserving_state(probe.model.weights):
        for weights in snapshots[1:]:
            probe.model.set_weights(weights)
            concepts.append(visual_concepts(probe(images), foreground, threshold))
    trainable = [weight.trainable for weight in probe.model.weights]
    distance = _distances(snapshots, trainable)
    counts = np.stack([each.foreground for each in concepts])
    at_peak = distance[counts.argmax(axis=0)]
    ever = np.any([each.where & foreground for each in concepts], axis=0).sum(axis=(1, 2))
    return Knowledge(
        foreground=counts,
        background=np.stack([each.background for each in concepts]),
        distance=distance,
        ratio=concepts[-1].ratio,
        distance_mean=float(at_peak.mean()),
        distance_std=float(at_peak.std()),
        stability=_mean_ratio(counts[-1], ever),
    )


def _distances(snapshots, trainable):
    flat = [
        np.concatenate([np.ravel(w) for w, counts in zip(weights, trainable, strict=True) if counts])
        for weights in snapshots
    ]
    moved = [np.linalg.norm(after - before) for before, after in itertools.pairwise(flat)]
    return np.cumsum(moved, dtype="float64") / np.linalg.norm(flat[0])


def _mean_ratio(part, whole):
    """The mean of the ratios where the denominator is not 0; NaN if it always is."""
    some = whole > 0
    return float(np.mean(part[some] / whole[some])) if some.any() else float("nan")


def _checked(foreground, shape):
    foreground = np.asarray(foreground)
    if foreground.shape != shape or foreground.dtype != bool:
        raise ValueError(
            f"`foreground` must be bool {shape}, one value for each pixel. Received: {foreground.dtype} "
            f"{foreground.shape}. Make it by a comparison, such as images[..., 0] > 0.1."
        )
    if foreground.all(axis=(1, 2)).any():
        raise ValueError(
            "`foreground` must leave some background in each image. Received: all foreground in images "
            f"{np.flatnonzero(foreground.all(axis=(1, 2)))[:10].tolist()}. Leave these out."
        )
    return foreground
