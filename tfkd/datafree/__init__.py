"""Distillation without data: recipes, objectives, memory and the distiller that uses them."""

from tfkd.datafree import objectives
from tfkd.datafree.distiller import DataFreeDistiller
from tfkd.datafree.memory import Memory
from tfkd.datafree.recipe import Recipe
from tfkd.datafree.recipes import DAFL, DFAD, Procedural

__all__ = [
    "DAFL",
    "DFAD",
    "DataFreeDistiller",
    "Memory",
    "Procedural",
    "Recipe",
    "objectives",
]
