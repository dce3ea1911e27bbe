"""Imports user code that defines the classes of their models."""

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from types import ModuleType

import keras

_KINDS = (
    keras.Layer,
    keras.Initializer,
    keras.Loss,
    keras.Metric,
    keras.Regularizer,
    keras.constraints.Constraint,
)


def import_code(source: str) -> ModuleType:
    """Imports a module or a Python file, and registers its classes and functions with Keras by name.

    Classes that the code itself registers with `keras.saving.register_keras_serializable` are not changed.

    Args:
        source: a file that ends in `.py`, or the name of a module.

    Returns:
        The module.

    Raises:
        ValueError: with the line and the error, if the code does not exist or fails.
    """
    module = _imported(source)
    for name, value in vars(module).items():
        own = getattr(value, "__module__", None) == module.__name__
        kind = inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, _KINDS))
        if own and kind and keras.saving.get_registered_name(value) == value.__name__:
            keras.saving.get_custom_objects()[name] = value
    return module


def _imported(source):
    try:
        return _from_file(source) if source.endswith(".py") else importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise ValueError(
            "`import` must be a Python file, or a module on the path, with the classes of the teacher. "
            f"Received: {source!r}, which fails{_where(error)}: {type(error).__name__}: {error}."
        ) from error


def _from_file(path):
    # A unique name: the file may have the same name as another module.
    name = f"tfkd_import_{os.path.basename(path).removesuffix('.py')}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, "It ends in .py."
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _where(error):
    """The line of the user's code that an error comes from."""
    if isinstance(error, SyntaxError):
        return f" in line {error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    frames = [frame for frame in frames if "importlib" not in frame.filename]
    return f" in line {frames[-1].lineno} of {os.path.basename(frames[-1].filename)}" if frames else ""
