"""Packages that only some parts of tfkd need."""

import importlib
from types import ModuleType


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Imports an optional package, or says what to install.

    Args:
        module: the name of the module, such as "keras_hub".
        extra: the tfkd extra that installs it.
        purpose: what needs it, as the beginning of a sentence such as "Loading a text model".

    Returns:
        The module.

    Raises:
        ImportError: if the module, or something that it imports, is missing.

    Example:
        >>> tokenizers = require("tokenizers", "text", "A tokenizer")
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{purpose} needs {error.name}: pip install 'tfkd[{extra}]'.", name=error.name
        ) from error
