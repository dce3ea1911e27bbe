"""Loads Keras model files, which may come from untrusted sources."""

import json
import math
import os
import warnings
import zipfile
from typing import Any

import h5py
import keras

from tfkd._core import extras, untrusted
from tfkd._core.graphs import has_graph, nodes
from tfkd._core.keras_internals import flatten_layers, inbound_nodes
from tfkd._core.keras_versions import minor_version

# Bytes of a number, and the batch size that a network must be able to take.
_FLOAT, _EXAMPLES = 4, 8
# The prefix under which keras-hub registers its layers.
_HUB = "keras_hub>"
BY_HAND = "Build the model with your own code, load its weights, and pass the model instead of the path."
_TRUST = (
    "If you trust its author, load it yourself with keras.models.load_model(path, safe_mode=False, "
    "custom_objects=...) and pass the model instead of the path."
)


def describe(argument: str, path: str) -> str:
    """The beginning of a message about a file: the argument and the file's path."""
    shown = repr(path)
    return f"`{argument}`: {shown if len(shown) <= 150 else f'{shown[:40]} ... {shown[-100:]}'}"


def is_zip(path: str) -> bool:
    """Whether a file is a zip archive, as `.keras` files are."""
    return os.path.isfile(path) and zipfile.is_zipfile(path)


def is_hdf5(path: str) -> bool:
    """Whether a file is an HDF5 file."""
    return os.path.isfile(path) and h5py.is_hdf5(path)


def load_keras(path: str, argument: str, trusted: bool = False, remedy: str = _TRUST) -> keras.Model:
    """Loads the model from a `.keras` file that Keras 3 wrote.

    Args:
        path: the file.
        argument: the argument that the path was passed as, for messages.
        trusted: whether the file may run code of its own.
        remedy: what to do about a file that needs more than tfkd allows.

    Returns:
        A model that is not compiled.

    Raises:
        ImportError: if it is a keras-hub model and keras-hub is not installed.
        ValueError: if the file is damaged, too large, or uses anything that is not known to be safe.
    """
    what = describe(argument, path)
    untrusted.check_archive(path, what)
    config = untrusted.read_configuration(path, what)
    if _HUB in json.dumps(config):
        # Importing it registers its classes.
        extras.require("keras_hub", "text", f"{what} is a model of keras-hub, which")
    if not trusted:
        untrusted.check_configuration(config, what, remedy)
    stored = untrusted.check_hdf5_entry(path, what)
    return _loaded(path, what, stored, trusted, remedy)


def load_hdf5(path: str, argument: str, trusted: bool = False, remedy: str = _TRUST) -> keras.Model:
    """Loads the model from an `.h5` file that Keras 3 can read; see `load_keras`."""
    what = describe(argument, path)
    stored = check_hdf5(path, argument, trusted, remedy)
    return _loaded(path, what, stored, trusted, remedy)


def check_hdf5(
    path: str, argument: str, trusted: bool = False, remedy: str = _TRUST, old: bool = False
) -> int:
    """Rejects an `.h5` file that is damaged, too large, or uses anything that is not known to be safe.

    Args:
        path: the file.
        argument: the argument that the path was passed as, for messages.
        trusted: whether the file may run code of its own.
        remedy: what to do about a file that needs more than tfkd allows.
        old: whether tf_keras will read it.

    Returns:
        The size of its weights in bytes.
    """
    what = describe(argument, path)
    with open(path, "rb") as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n" or is_zip(path):
            raise untrusted.refusal(what, "is two files in one.", "Save the model again.")
    stored = untrusted.check_hdf5(path, what)
    config = untrusted.read_hdf5_configuration(path, what)
    if config is None:
        raise untrusted.refusal(
            what,
            "holds weights only.",
            "Build the model, call its load_weights on the file, and pass the model instead of the path.",
        )
    if not trusted:
        untrusted.check_configuration(_whole(config), what, remedy, old)
    return stored


def _whole(config):
    """A configuration in today's form: the oldest versions list a Sequential model's layers directly."""
    inner = config.get("config") if isinstance(config, dict) else None
    return {**config, "config": {"layers": inner}} if isinstance(inner, list) else config


def check_outputs(model: Any, what: str) -> None:
    """Rejects a network in which the output of one layer for a few examples would exceed the size limit.

    Args:
        model: a model of Keras 3 or tf_keras.
        what: the argument and the file, for the message.

    Raises:
        ValueError: if an output is too large.
    """
    operations = [each for layer in flatten_layers(model) for each in (layer, *_inner(layer))]
    tensors = keras.tree.flatten([node.outputs for each in operations for node in inbound_nodes(each)])
    sizes = (math.prod(size or 1 for size in tensor.shape[1:]) * _FLOAT for tensor in tensors)
    untrusted.check_size(
        what, _EXAMPLES * max(sizes, default=0), "for a few examples one of its layers makes"
    )


def _inner(layer):
    """The operations between the layers of a model."""
    known = isinstance(layer, keras.Model) and has_graph(layer)
    return [node.operation for node in nodes(layer)] if known else []


def _loaded(path, what, stored, trusted, remedy):
    try:
        with warnings.catch_warnings(), untrusted.weights_within(what, stored):
            # Users who load a file cannot change how its layers were defined.
            warnings.filterwarnings("ignore", "Do not pass an `input_shape`")
            model = keras.models.load_model(path, compile=False, safe_mode=not trusted)
    except untrusted.RefusedFile:
        raise
    except Exception as error:
        remedy = _remedy_for_newer(path, what) or remedy
        raise untrusted.refusal(what, f"cannot be loaded as a Keras model: {error}", remedy) from error
    check_outputs(model, what)
    if not isinstance(model, keras.Model):
        raise untrusted.refusal(
            what, f"holds a {type(model).__name__}, not a model.", "Save the whole model."
        )
    return model


def _remedy_for_newer(path, what):
    """The remedy for a file from a newer minor version of Keras; None for other files."""
    metadata = untrusted.read_metadata(path, what) if is_zip(path) else {}
    written = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(written, str) or minor_version(written) <= minor_version(keras.__version__):
        return None
    return (
        f"Keras {written[:20]} wrote it, but {keras.__version__} is installed: pip install --upgrade keras "
        "(Keras has needed Python 3.11 since 3.13), or save the model with the older version."
    )
