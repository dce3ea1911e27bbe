"""Matching known statistics of features: the distances, and the base class of such objectives."""

import dataclasses

import keras
from keras import ops

from tfkd.datafree.objectives._base import Objective, ObjectiveState, Synthesized
from tfkd.datafree.objectives._moments import Moments, is_alive


def l2_distance(mean, variance, stored_mean, stored_variance):
    """Norms of the differences of means and of variances: DeepInversion, CMI, Fast."""
    return _norm(variance - stored_variance) + _norm(mean - stored_mean)


def mse_distance(mean, variance, stored_mean, stored_variance):
    """Mean squared differences over channels of means and of variances: GDFQ."""
    return ops.mean((variance - stored_variance) ** 2) + ops.mean((mean - stored_mean) ** 2)


def gaussian_kl(mean, variance, stored_mean, stored_variance):
    """KL(batch || stored) of normal distributions, summed over channels: DFQ.

    Channels that were dead in training are left out, since their variance is almost 0.
    """
    alive = is_alive(stored_variance)
    known = ops.where(alive, stored_variance, 1.0)
    ratio = (variance + 1e-10) / known
    divergence = ratio + (mean - stored_mean) ** 2 / known - 1.0 - ops.log(ratio)
    return 0.5 * ops.sum(ops.where(alive, divergence, 0.0))


_NORMS = {"l2": l2_distance, "mse": mse_distance, "gaussian_kl": gaussian_kl}
# Each image's own statistics, as ZeroQ compares them.
_PER_IMAGE = "per_image"


def per_image_distance(moments: Moments):
    """Squared distance of each image's mean and standard deviation to the stored ones, averaged: ZeroQ."""
    mean, variance = moments.of_images()
    stored = ops.sqrt(moments.stored_variance + 1e-6)
    squares = (mean - moments.stored_mean) ** 2 + (ops.sqrt(variance + 1e-12) - stored) ** 2
    return ops.mean(ops.sum(squares, axis=-1))


@dataclasses.dataclass(frozen=True)
class MatchedStatistics(Objective):
    """Distance of the batch's statistics to the `stored` ones, which subclasses define.

    The batch's variance is biased. Norms differ by orders of magnitude, and so do suitable weights: 1 to
    100 for "l2", 0.1 for "mse", 0.01 for "gaussian_kl", 1 for "per_image".

    Args:
        weight: the weight of the term.
        norm: "l2" (summed over layers), "mse" (mean over layers), "gaussian_kl" (summed), or "per_image"
            (summed; with the means and standard deviations of each image separately).
        momentum: the fraction of earlier batches' running statistics in the batch's, in [0, 1); the
            gradient shrinks by 1 - momentum.
        first_layer_multiplier: an extra factor for the first layer.

    Raises:
        ValueError: if the norm is unknown, or the momentum is out of range or has no effect.
    """

    norm: str = "l2"
    momentum: float = 0.0
    first_layer_multiplier: float = 1.0

    def __post_init__(self) -> None:
        known = [*_NORMS, _PER_IMAGE]
        if self.norm not in known:
            raise ValueError(f"`norm` must be one of {sorted(known)}. Received: norm={self.norm!r}.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"`momentum` must be in [0, 1). Received: momentum={self.momentum!r}.")
        if self.momentum and self.norm == _PER_IMAGE:
            raise ValueError(
                "`momentum` must be 0 with norm='per_image', which has no batch statistics. Received: "
                f"{self.momentum!r}."
            )

    def build(self, example: Synthesized, batch_size: int, seed: keras.random.SeedGenerator):
        return _Running(self.momentum, example.moments) if self.momentum else None

    def value(self, batch: Synthesized):
        if self.norm == _PER_IMAGE:
            values = [per_image_distance(moments) for moments in batch.moments]
        else:
            pairs = [moments.of_batch() for moments in batch.moments]
            if batch.state is not None:
                pairs = batch.state.mixed(pairs)
            values = [
                _NORMS[self.norm](*pair, moments.stored_mean, moments.stored_variance)
                for pair, moments in zip(pairs, batch.moments, strict=True)
            ]
        values[0] = self.first_layer_multiplier * values[0]
        return sum(values) / (len(values) if self.norm == "mse" else 1)

    def finish(self, state: ObjectiveState | None) -> None:
        if state is not None:
            state.commit()


class _Running(ObjectiveState):
    """Running statistics of earlier batches; each batch counts once, in its final state."""

    def __init__(self, momentum, moments):
        super().__init__(trainable=False)
        self.momentum = momentum
        self.batches = self.add_weight(shape=(), dtype="int64", initializer="zeros", name="batches")
        # Mean and variance of each call of each layer in turn.
        channels = [m.mean.shape[-1] for m in moments for _ in ("mean", "variance")]
        self.running, self.latest = (
            [
                self.add_weight(shape=(n,), initializer="zeros", name=f"{name}_{i}")
                for i, n in enumerate(channels)
            ]
            for name in ("running", "latest")
        )
        self.built = True

    def mixed(self, pairs):
        share = ops.where(self.batches.value > 0, self.momentum, 0.0)
        values = [value for pair in pairs for value in pair]
        for variable, value in zip(self.latest, values, strict=True):
            variable.assign(value)
        values = [
            (1 - share) * value + share * running.value
            for value, running in zip(values, self.running, strict=True)
        ]
        return list(zip(values[::2], values[1::2], strict=True))

    def commit(self):
        share = ops.where(self.batches.value > 0, self.momentum, 0.0)
        for running, latest in zip(self.running, self.latest, strict=True):
            running.assign(share * running.value + (1 - share) * latest.value)
        self.batches.assign_add(1)


def _norm(values):
    """Euclidean norm with a finite gradient at 0."""
    return ops.sqrt(ops.sum(values**2) + 1e-12)
