"""The data-free systems, one recipe a file, with their published hyper-parameters as defaults."""

from tfkd.datafree.recipes.black_box import BlackBox
from tfkd.datafree.recipes.bss import BSS
from tfkd.datafree.recipes.cmi import CMI
from tfkd.datafree.recipes.dafl import DAFL
from tfkd.datafree.recipes.deep_inversion import DeepInversion
from tfkd.datafree.recipes.dfad import DFAD
from tfkd.datafree.recipes.dfq import DFQ
from tfkd.datafree.recipes.fast import Fast
from tfkd.datafree.recipes.gdfq import GDFQ
from tfkd.datafree.recipes.guided_prior import GuidedPrior
from tfkd.datafree.recipes.nayer import NAYER
from tfkd.datafree.recipes.procedural import Procedural
from tfkd.datafree.recipes.recovery import Recovery
from tfkd.datafree.recipes.zeroq import ZeroQ
from tfkd.datafree.recipes.zskt import ZSKT

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
    "DeepInversion",
    "Fast",
    "GuidedPrior",
    "Procedural",
    "Recovery",
    "ZeroQ",
]
