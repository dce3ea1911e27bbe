"""Checks which version of Keras a model belongs to."""

import re
from typing import Any

import keras


def minor_version(version: str) -> tuple[int, int]:
    """The first two numbers of a version; (0, 0) if it does not start with two numbers.

    Example:
        >>> minor_version("3.15.1")
        (3, 15)
    """
    found = re.match(r"(\d{1,9})\.(\d{1,9})", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def check_keras_3(argument: str, model: Any, error: type[Exception] = TypeError) -> None:
    """Rejects a tf_keras model, which looks much like a Keras 3 model.

    Args:
        argument: the argument that it was passed as, for the message.
        model: anything; only tf_keras models are rejected.
        error: the type of error to raise.

    Example:
        >>> check_keras_3("student", student)
    """
    if any(cls.__module__.partition(".")[0] == "tf_keras" for cls in type(model).__mro__):
        raise error(
            f"`{argument}` must be a Keras 3 model. Received: {getattr(model, 'name', None)!r}, a "
            f"{type(model).__name__} of tf_keras. tfkd.compression.from_tf_keras(model) rebuilds it in "
            "Keras 3, with its weights."
        )


def check_keras_model(argument: str, model: Any) -> None:
    """Raises TypeError for anything but a Keras 3 model.

    Args:
        argument: the argument that it was passed as, for the message.
        model: anything.

    Example:
        >>> check_keras_model("model", model)
    """
    check_keras_3(argument, model)
    if not isinstance(model, keras.Model):
        raise TypeError(f"`{argument}` must be a Keras model. Received: {model!r} of type {type(model)}.")
