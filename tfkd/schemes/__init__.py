"""Schemes: who teaches whom, and in which order."""

from tfkd.schemes._mutual import MutualDistiller
from tfkd.schemes._stages import Stage, Stages

__all__ = ["MutualDistiller", "Stage", "Stages"]
