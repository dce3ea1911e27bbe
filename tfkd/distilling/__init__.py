"""The core: a distiller, what it compares, and teachers that were asked beforehand."""

from tfkd.distilling._caching import cache_teacher, with_index
from tfkd.distilling._compatibility import LogitsWarning
from tfkd.distilling._distiller import Distiller

__all__ = ["Distiller", "LogitsWarning", "cache_teacher", "with_index"]
