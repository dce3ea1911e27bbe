"""The core: the distiller, its losses, and teachers whose outputs are cached."""

from tfkd.distilling._caching import cache_teacher, map_inputs, unpack, with_index
from tfkd.distilling._compatibility import LogitsWarning
from tfkd.distilling._distillation_model import DistillationModel
from tfkd.distilling._distiller import Distiller
from tfkd.distilling._forward import ForwardResult, forward_pass
from tfkd.distilling._loss_set import LossSet
from tfkd.distilling._protocol import Distillation

__all__ = [
    "Distillation",
    "DistillationModel",
    "Distiller",
    "ForwardResult",
    "LogitsWarning",
    "LossSet",
    "cache_teacher",
    "forward_pass",
    "map_inputs",
    "unpack",
    "with_index",
]
