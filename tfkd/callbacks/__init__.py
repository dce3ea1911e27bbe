"""Callbacks for any distiller."""

from tfkd.callbacks._keep_epochs import KeepEpochs
from tfkd.callbacks._keep_last_good import KeepLastGood
from tfkd.callbacks._stop_distilling import StopDistilling
from tfkd.callbacks._value_schedules import StudentLossWeightSchedule, TemperatureSchedule
from tfkd.callbacks._weight_schedule import WeightSchedule

__all__ = [
    "KeepEpochs",
    "KeepLastGood",
    "StopDistilling",
    "StudentLossWeightSchedule",
    "TemperatureSchedule",
    "WeightSchedule",
]
