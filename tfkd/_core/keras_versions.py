"""Which Keras a model is of."""

import re
from typing import Any

import keras


def minor_version(version: str) -> tuple[int, int]:
    """The first two numbers of a version; (0, 0) where there are none.

    Example:
        >>> minor_version("3.15.1")
        (3, 15)
    """
    found = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def check_keras_3(argument: str, model: Any, error: type[Exception] = TypeError) -> None:
    """Refuses a model of tf_keras, which looks much like one of Keras 3.

    Args:
        argument: what gave it, for the message.
        model: anything; only models of tf_keras are refused.
        error: what is raised.

    Example:
        >>> check_keras_3("student", student)
    """
    if any(cls.__module__.partition(".")[0] == "tf_keras" for cls in type(model).__mro__):
        raise error(
            f"`{argument}` must be a model of Keras 3. Received: {getattr(model, 'name', None)!r}, a "
            f"{type(model).__name__} of tf_keras. tfkd.compression.from_tf_keras(model) builds it again in "
            "Keras 3, with its weights."
        )


def check_keras_model(argument: str, model: Any) -> None:
    """Raises TypeError for anything but a Keras model, one of tf_keras too.

    Args:
        argument: what gave it, for the message.
        model: anything.

    Example:
        >>> check_keras_model("model", model)
    """
    check_keras_3(argument, model)
    if not isinstance(model, keras.Model):
        raise TypeError(f"`{argument}` must be a Keras model. Received: {model!r} of type {type(model)}.")
