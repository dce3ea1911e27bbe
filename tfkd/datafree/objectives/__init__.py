"""Objectives of synthesized images, one per file; all are minimized."""

from tfkd.datafree.objectives._activation import Activation, activation
from tfkd.datafree.objectives._adversarial import Adversarial, adversarial, jensen_shannon
from tfkd.datafree.objectives._base import Objective, Synthesized
from tfkd.datafree.objectives._batch_statistics import BatchStatistics
from tfkd.datafree.objectives._class_balance import ClassBalance, class_balance
from tfkd.datafree.objectives._contrastive import ContrastiveInversion, contrastive
from tfkd.datafree.objectives._entropy import Entropy, entropy
from tfkd.datafree.objectives._feature_alignment import FeatureAlignment
from tfkd.datafree.objectives._l2 import L2, l2
from tfkd.datafree.objectives._one_hot import OneHot, one_hot
from tfkd.datafree.objectives._patch_similarity import PatchSimilarity, patch_similarity_entropy
from tfkd.datafree.objectives._pixel_statistics import PixelStatistics, pixel_statistics
from tfkd.datafree.objectives._token_statistics import TokenStatistics
from tfkd.datafree.objectives._total_variation import TotalVariation, total_variation

__all__ = [
    "L2",
    "Activation",
    "Adversarial",
    "BatchStatistics",
    "ClassBalance",
    "ContrastiveInversion",
    "Entropy",
    "FeatureAlignment",
    "Objective",
    "OneHot",
    "PatchSimilarity",
    "PixelStatistics",
    "Synthesized",
    "TokenStatistics",
    "TotalVariation",
    "activation",
    "adversarial",
    "class_balance",
    "contrastive",
    "entropy",
    "jensen_shannon",
    "l2",
    "one_hot",
    "patch_similarity_entropy",
    "pixel_statistics",
    "total_variation",
]
