"""Distillation without data: recipes, objectives, memory and the distiller that uses them."""

from tfkd.datafree import objectives
from tfkd.datafree.distiller import DataFreeDistiller
from tfkd.datafree.health import Health, HealthWarning
from tfkd.datafree.keep_best import KeepBest
from tfkd.datafree.memory import Memory
from tfkd.datafree.recipe import Recipe
from tfkd.datafree.recipes import DAFL, DFAD, Procedural
from tfkd.datafree.statistics import reestimate_statistics

__all__ = [
    "DAFL",
    "DFAD",
    "DataFreeDistiller",
    "Health",
    "HealthWarning",
    "KeepBest",
    "Memory",
    "Procedural",
    "Recipe",
    "objectives",
    "reestimate_statistics",
]
