"""Distillation without data: recipes, objectives, memory and the distiller that uses them."""

from tfkd.datafree import objectives, recipes, sources, watching
from tfkd.datafree._distiller import DataFreeDistiller
from tfkd.datafree._inversion_recipe import InversionRecipe, PixelInversionRecipe
from tfkd.datafree._memory import Memory
from tfkd.datafree._recipe import ConvGeneratorRecipe, GeneratorRecipe, PriorRecipe, Recipe
from tfkd.datafree.objectives._image_objective import ObjectiveWarning
from tfkd.datafree.objectives._moments import measure
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
    Choice,
    DeepInversion,
    Fast,
    GuidedPrior,
    PicturePrior,
    Procedural,
    ProceduralText,
    PSAQViT,
    Recovery,
    ZeroQ,
    choose_recipe,
    known_recipes,
)
from tfkd.datafree.sources._boundary import boundary_supporting
from tfkd.datafree.watching import Health, HealthWarning, ImageSummaries, KeepBest, reestimate_statistics

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
    "Choice",
    "ConvGeneratorRecipe",
    "DataFreeDistiller",
    "DeepInversion",
    "Fast",
    "GeneratorRecipe",
    "GuidedPrior",
    "Health",
    "HealthWarning",
    "ImageSummaries",
    "InversionRecipe",
    "KeepBest",
    "Memory",
    "ObjectiveWarning",
    "PSAQViT",
    "PicturePrior",
    "PixelInversionRecipe",
    "PriorRecipe",
    "Procedural",
    "ProceduralText",
    "Recipe",
    "Recovery",
    "ZeroQ",
    "boundary_supporting",
    "choose_recipe",
    "known_recipes",
    "measure",
    "objectives",
    "recipes",
    "reestimate_statistics",
    "sources",
    "watching",
]
