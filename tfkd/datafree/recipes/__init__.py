"""Data-free methods, one recipe per file, with their published hyperparameters as defaults."""

from tfkd.datafree.recipes._black_box import BlackBox
from tfkd.datafree.recipes._bss import BSS
from tfkd.datafree.recipes._cmi import CMI
from tfkd.datafree.recipes._dafl import DAFL
from tfkd.datafree.recipes._deep_inversion import DeepInversion
from tfkd.datafree.recipes._dfad import DFAD
from tfkd.datafree.recipes._dfq import DFQ
from tfkd.datafree.recipes._fast import Fast
from tfkd.datafree.recipes._gdfq import GDFQ
from tfkd.datafree.recipes._guided_prior import GuidedPrior
from tfkd.datafree.recipes._nayer import NAYER
from tfkd.datafree.recipes._picture_prior import PicturePrior
from tfkd.datafree.recipes._procedural import Procedural
from tfkd.datafree.recipes._procedural_text import ProceduralText
from tfkd.datafree.recipes._psaq_vit import PSAQViT
from tfkd.datafree.recipes._recovery import Recovery
from tfkd.datafree.recipes._zeroq import ZeroQ
from tfkd.datafree.recipes._zskt import ZSKT

# After the recipes, which they look up by name.
from tfkd.datafree.recipes._choosing import Choice, choose_recipe  # isort: skip
from tfkd.datafree.recipes._finding import known_recipes  # isort: skip

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
    "DeepInversion",
    "Fast",
    "GuidedPrior",
    "PSAQViT",
    "PicturePrior",
    "Procedural",
    "ProceduralText",
    "Recovery",
    "ZeroQ",
    "choose_recipe",
    "known_recipes",
]
