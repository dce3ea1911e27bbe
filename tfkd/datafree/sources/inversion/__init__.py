"""Inversion: methods that make images one batch at a time by gradient steps, one per file."""

from tfkd.datafree.sources.inversion._base import Inversion
from tfkd.datafree.sources.inversion._latents import Latents
from tfkd.datafree.sources.inversion._meta import Meta
from tfkd.datafree.sources.inversion._noisy_labels import NoisyLabels
from tfkd.datafree.sources.inversion._pixels import Pixels

__all__ = ["Inversion", "Latents", "Meta", "NoisyLabels", "Pixels"]
