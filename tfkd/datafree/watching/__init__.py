"""Monitoring of data-free runs: health, the best epoch, batch statistics, time."""

from tfkd.datafree.watching._diagnostics import vital_signs
from tfkd.datafree.watching._health import Health, HealthWarning
from tfkd.datafree.watching._image_summaries import ImageSummaries
from tfkd.datafree.watching._keep_best import KeepBest
from tfkd.datafree.watching._statistics import reestimate_statistics
from tfkd.datafree.watching._timing import median_seconds, time_shares

__all__ = [
    "Health",
    "HealthWarning",
    "ImageSummaries",
    "KeepBest",
    "median_seconds",
    "reestimate_statistics",
    "time_shares",
    "vital_signs",
]
