"""tfkd: knowledge distillation for Keras, with data and without."""

import keras as _keras

if _keras.config.backend() != "tensorflow":
    raise ImportError(
        f"tfkd needs Keras on TensorFlow, but its backend is {_keras.config.backend()!r}. Set the "
        "environment variable KERAS_BACKEND=tensorflow before Python starts."
    )

from tfkd import (
    analysis,
    callbacks,
    compression,
    datafree,
    distilling,
    export,
    generators,
    losses,
    optimizers,
    pipelines,
    schemes,
    searching,
    students,
    taps,
    tasks,
    teachers,
    testing,
    text,
)
from tfkd.datafree import DataFreeDistiller
from tfkd.pipelines import inspect_model
from tfkd.searching import search
from tfkd.distilling import Distiller, LogitsWarning, cache_teacher, map_inputs, with_index
from tfkd.teachers import BlackBoxTeacher, TeacherWarning, load_teacher

__version__ = "0.1.0"

__all__ = [
    "BlackBoxTeacher",
    "DataFreeDistiller",
    "Distiller",
    "LogitsWarning",
    "TeacherWarning",
    "analysis",
    "cache_teacher",
    "callbacks",
    "compression",
    "datafree",
    "distilling",
    "export",
    "generators",
    "inspect_model",
    "load_teacher",
    "losses",
    "map_inputs",
    "optimizers",
    "pipelines",
    "schemes",
    "search",
    "searching",
    "students",
    "taps",
    "tasks",
    "teachers",
    "testing",
    "text",
    "with_index",
]
