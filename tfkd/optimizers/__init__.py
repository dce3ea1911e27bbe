"""Optimizers that Keras lacks, and optimizers shared by several recipes."""

from tfkd._core.renames import renamed as _renamed
from tfkd.optimizers._dot import DOT
from tfkd.optimizers._group import OptimizerGroup
from tfkd.optimizers._muon import Muon, orthogonalized
from tfkd.optimizers._schedules import (
    WarmedUpCosine,
    cosine_nesterov,
    sgd_with_coupled_decay,
    warmed_up_cosine,
)

__getattr__ = _renamed(__name__, {"sgd_of_the_papers": "sgd_with_coupled_decay"})

__all__ = [
    "DOT",
    "Muon",
    "OptimizerGroup",
    "WarmedUpCosine",
    "cosine_nesterov",
    "orthogonalized",
    "sgd_with_coupled_decay",
    "warmed_up_cosine",
]
