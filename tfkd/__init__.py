"""tfkd: knowledge distillation for Keras, with data and without."""

import keras

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"tfkd needs Keras on TensorFlow, but its backend is {keras.config.backend()!r}. Set the "
        "environment variable KERAS_BACKEND=tensorflow before Python starts."
    )

from tfkd import callbacks, compression, datafree, export, losses, optimizers, schemes, students, taps
from tfkd.black_box import BlackBoxTeacher
from tfkd.caching import cache_teacher, with_index
from tfkd.compatibility import LogitsWarning
from tfkd.datafree import DataFreeDistiller
from tfkd.distiller import Distiller
from tfkd.teachers import TeacherWarning, load_teacher

__version__ = "0.1.0"

__all__ = [
    "BlackBoxTeacher",
    "DataFreeDistiller",
    "Distiller",
    "LogitsWarning",
    "TeacherWarning",
    "cache_teacher",
    "callbacks",
    "compression",
    "datafree",
    "export",
    "load_teacher",
    "losses",
    "optimizers",
    "schemes",
    "students",
    "taps",
    "with_index",
]
