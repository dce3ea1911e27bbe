"""What images are made for, one objective a file; all are minimized."""

from tfkd.datafree.objectives.activation import Activation, activation
from tfkd.datafree.objectives.adversarial import Adversarial, adversarial, jensen_shannon
from tfkd.datafree.objectives.base import Objective, Synthesized
from tfkd.datafree.objectives.batch_statistics import BatchStatistics
from tfkd.datafree.objectives.class_balance import ClassBalance, class_balance
from tfkd.datafree.objectives.contrastive import ContrastiveInversion, contrastive
from tfkd.datafree.objectives.entropy import Entropy, entropy
from tfkd.datafree.objectives.feature_alignment import FeatureAlignment
from tfkd.datafree.objectives.l2 import L2, l2
from tfkd.datafree.objectives.one_hot import OneHot, one_hot
from tfkd.datafree.objectives.pixel_statistics import PixelStatistics, pixel_statistics
from tfkd.datafree.objectives.total_variation import TotalVariation, total_variation

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
    "PixelStatistics",
    "Synthesized",
    "TotalVariation",
    "activation",
    "adversarial",
    "class_balance",
    "contrastive",
    "entropy",
    "jensen_shannon",
    "l2",
    "one_hot",
    "pixel_statistics",
    "total_variation",
]
