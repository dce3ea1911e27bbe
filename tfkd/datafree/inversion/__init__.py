"""Inversion: images made one batch at a time by gradient steps, one way a file."""

from tfkd.datafree.inversion.base import Inversion
from tfkd.datafree.inversion.latents import Latents
from tfkd.datafree.inversion.meta import Meta
from tfkd.datafree.inversion.noisy_labels import NoisyLabels
from tfkd.datafree.inversion.pixels import Pixels

__all__ = ["Inversion", "Latents", "Meta", "NoisyLabels", "Pixels"]
