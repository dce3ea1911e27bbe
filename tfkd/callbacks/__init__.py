"""Callbacks that any distiller can be given."""

from tfkd.callbacks._keep_last_good import KeepLastGood
from tfkd.callbacks._value_schedules import StudentLossWeightSchedule, TemperatureSchedule
from tfkd.callbacks._weight_schedule import WeightSchedule

__all__ = ["KeepLastGood", "StudentLossWeightSchedule", "TemperatureSchedule", "WeightSchedule"]
