"""Schemes: who teaches whom, and in which order."""

from tfkd.schemes._ensemble_teacher import EnsembleTeacher
from tfkd.schemes._stages import Stage, Stages

__all__ = ["EnsembleTeacher", "Stage", "Stages"]
