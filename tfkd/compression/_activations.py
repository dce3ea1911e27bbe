"""Conversion of activations between Keras 3 and tf_keras."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# The package name under which Keras 3's functions are registered in tf_keras.
_PACKAGE = "tfkd"
_PREFIX = f"{_PACKAGE}>"


def activation_for_tf_keras(serialized: str | dict) -> str | Callable:
    """The activation's name if tf_keras has the same function under it, otherwise Keras 3's function.

    Args:
        serialized: an activation from a Keras 3 configuration.
    """
    import tf_keras

    ours = keras.activations.get(serialized)
    name = ours.__name__
    x = tf.linspace(-9.0, 9.0, 73)[None]
    try:
        if np.allclose(tf_keras.activations.get(name)(x), ours(x), atol=1e-6):
            return name
    except ValueError:
        pass
    return _registered(name)


def register_activations(entry: Any) -> None:
    """Registers with tf_keras the Keras 3 functions that a tf_keras configuration names.

    Args:
        entry: a configuration, or a part of one.
    """
    if isinstance(entry, dict):
        entry = list(entry.values())
    if isinstance(entry, list | tuple):
        for each in entry:
            register_activations(each)
    elif isinstance(entry, str) and entry.startswith(_PREFIX):
        _registered(name_in_keras(entry))


def name_in_keras(registered: str) -> str:
    """The Keras 3 name of a function that was registered here."""
    return registered.removeprefix(_PREFIX)


def _registered(name):
    import tf_keras

    # With the TensorFlow backend, both accept the same tensors.
    return tf_keras.utils.register_keras_serializable(_PACKAGE, name)(keras.activations.get(name))
