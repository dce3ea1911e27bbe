"""Schemes: who teaches whom, and in which order."""

from tfkd.schemes._noisy_student import NoisyStudent
from tfkd.schemes._pseudo_labels import pseudo_labels
from tfkd.schemes._rand_augment import rand_augment
from tfkd.schemes._stages import Stage, Stages

__all__ = ["NoisyStudent", "Stage", "Stages", "pseudo_labels", "rand_augment"]
