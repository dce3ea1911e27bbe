"""Distillation without data: recipes, objectives, memory and the distiller that uses them."""

from tfkd.datafree import objectives
from tfkd.datafree.boundary import boundary_supporting
from tfkd.datafree.critic import ObjectiveWarning
from tfkd.datafree.distiller import DataFreeDistiller
from tfkd.datafree.health import Health, HealthWarning
from tfkd.datafree.inversion_recipe import InversionRecipe
from tfkd.datafree.keep_best import KeepBest
from tfkd.datafree.memory import Memory
from tfkd.datafree.moments import measure
from tfkd.datafree.recipe import Recipe
from tfkd.datafree.recipes import (
    BSS,
    CMI,
    DAFL,
    DFAD,
    DFQ,
    GDFQ,
    NAYER,
    ZSKT,
    BlackBox,
    DeepInversion,
    Fast,
    GuidedPrior,
    Procedural,
    Recovery,
    ZeroQ,
)
from tfkd.datafree.statistics import reestimate_statistics

__all__ = [
    "BSS",
    "CMI",
    "DAFL",
    "DFAD",
    "DFQ",
    "GDFQ",
    "NAYER",
    "ZSKT",
    "BlackBox",
    "DataFreeDistiller",
    "DeepInversion",
    "Fast",
    "GuidedPrior",
    "Health",
    "HealthWarning",
    "InversionRecipe",
    "KeepBest",
    "Memory",
    "ObjectiveWarning",
    "Procedural",
    "Recipe",
    "Recovery",
    "ZeroQ",
    "boundary_supporting",
    "measure",
    "objectives",
    "reestimate_statistics",
]
