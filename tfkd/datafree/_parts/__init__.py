"""The parts of recipes: each holds the options of one aspect, and recipes combine several."""

from tfkd.datafree._parts._learning import Features, NewInputs, Replay, Schedule, Teaching
from tfkd.datafree._parts._making import (
    ConvolutionalNetwork,
    Inversion,
    Latent,
    Objectives,
    PixelInversion,
    PixelOutput,
    PixelScale,
    TrainedGenerator,
)
from tfkd.datafree._parts._part import Part
from tfkd.datafree._parts._prior import Chains, Prior, Priors, Refinement, Selection, priors

__all__ = [
    "Chains",
    "ConvolutionalNetwork",
    "Features",
    "Inversion",
    "Latent",
    "NewInputs",
    "Objectives",
    "Part",
    "PixelInversion",
    "PixelOutput",
    "PixelScale",
    "Prior",
    "Priors",
    "Refinement",
    "Replay",
    "Schedule",
    "Selection",
    "Teaching",
    "TrainedGenerator",
    "priors",
]
