"""Batch statistics: images whose features have the statistics of the teacher's training data."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import keras

from tfkd.datafree.objectives._matched_statistics import MatchedStatistics
from tfkd.datafree.objectives._moments import stored_statistics


@dataclasses.dataclass(frozen=True)
class BatchStatistics(MatchedStatistics):
    """Distance of the batch's statistics to those stored in the teacher's batch normalization layers.

    The inputs of all these layers are compared, including nested ones and every call of shared ones; the
    batch's variance is biased. Norms differ by orders of magnitude, and so do suitable weights: 1 to 100
    for "l2", 0.1 for "mse", 0.01 for "gaussian_kl", 1 for "per_image".

    Args:
        weight: the weight of the term.
        norm: "l2" (summed over layers), "mse" (mean over layers), "gaussian_kl" (summed), or "per_image"
            (summed; with the means and standard deviations of each image separately).
        momentum: the fraction of earlier batches' running statistics in the batch's, in [0, 1); the
            gradient shrinks by 1 - momentum.
        first_layer_multiplier: an extra factor for the first layer.
        given: `{tap: (mean, variance)}` to compare with instead, from `tfkd.datafree.measure`, for
            teachers without batch normalization.

    Reference:
        Yin et al., "Dreaming to Distill" (DeepInversion), 2020; Xu et al., GDFQ, 2020; Choi et al., DFQ,
        2020; Cai et al., ZeroQ, 2020; the momentum: Fang et al., "Up to 100x Faster Data-Free Knowledge
        Distillation", 2022.
    """

    given: Mapping[str, tuple] | None = None
    renamed: ClassVar[Mapping[str, str]] = {"first": "first_layer_multiplier"}

    def stored(self, teacher: keras.Model) -> dict[str, tuple]:
        if self.given is not None:
            return {tap: (*statistics, -1) for tap, statistics in self.given.items()}
        return stored_statistics(teacher)

    def problem(self, teacher: keras.Model) -> str | None:
        if self.stored(teacher):
            return None
        return "it has no batch normalization, so there are no statistics to match"
