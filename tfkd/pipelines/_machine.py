"""Devices and versions of a run."""

import os
import platform

import keras
import numpy as np
import tensorflow as tf

import tfkd


def device() -> str:
    """The names of the GPUs in use, or the number of CPU cores."""
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.get_visible_devices("GPU")
    ]
    return ", ".join(gpus) or f"{os.cpu_count()} CPU cores"


def versions() -> dict[str, str]:
    """Versions of the libraries that results depend on."""
    return {
        "tfkd": tfkd.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
