"""The data-free systems, one recipe a file, with their published hyper-parameters as defaults."""

from tfkd.datafree.recipes.dafl import DAFL
from tfkd.datafree.recipes.dfad import DFAD
from tfkd.datafree.recipes.procedural import Procedural

__all__ = ["DAFL", "DFAD", "Procedural"]
