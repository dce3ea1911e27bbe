"""Opens files of Keras models, whoever made them."""

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

# Bytes of a number, and how many examples a network should be able to take at a time.
_FLOAT, _EXAMPLES = 4, 8
# What layers of keras-hub are registered as.
_HUB = "keras_hub>"
BY_HAND = "Build the model with code of your own, load its weights, and pass the model instead of the path."
_TRUST = (
    "If you trust whoever made it, load it yourself with keras.models.load_model(path, safe_mode=False, "
    "custom_objects=...) and pass the model instead of the path."
)


def describe(argument: str, path: str) -> str:
    """An argument and its file, as messages about the file begin."""
    shown = repr(path)
    return f"`{argument}`: {shown if len(shown) <= 150 else f'{shown[:40]} ... {shown[-100:]}'}"


def is_zip(path: str) -> bool:
    """Whether a file is an archive, as `.keras` files are."""
    return os.path.isfile(path) and zipfile.is_zipfile(path)


def is_hdf5(path: str) -> bool:
    """Whether a file is an HDF5 file."""
    return os.path.isfile(path) and h5py.is_hdf5(path)


def load_keras(path: str, argument: str, trusted: bool = False, remedy: str = _TRUST) -> keras.Model:
    """The model of a `.keras` file that Keras 3 wrote.

    Args:
        path: the file.
        argument: what gave it, for messages.
        trusted: whether what it holds may run code.
        remedy: what to do about a file that asks for more than tfkd allows.

    Returns:
        A model that is not compiled.

    Raises:
        ImportError: if it is a model of keras-hub, which is not installed.
        ValueError: if it is damaged, too large, or asks for what is not known to compute only.
    """
    what = describe(argument, path)
    untrusted.check_archive(path, what)
    config = untrusted.read_configuration(path, what)
    if _HUB in json.dumps(config):
        # Its classes are known once it is there.
        extras.require("keras_hub", "text", f"{what} is a model of keras-hub, which")
    if not trusted:
        untrusted.check_configuration(config, what, remedy)
    stored = untrusted.check_hdf5_entry(path, what)
    return _loaded(path, what, stored, trusted, remedy)


def load_hdf5(path: str, argument: str, trusted: bool = False, remedy: str = _TRUST) -> keras.Model:
    """The model of an `.h5` file that Keras 3 reads; like `load_keras`."""
    what = describe(argument, path)
    stored = check_hdf5(path, argument, trusted, remedy)
    return _loaded(path, what, stored, trusted, remedy)


def check_hdf5(
    path: str, argument: str, trusted: bool = False, remedy: str = _TRUST, old: bool = False
) -> int:
    """Refuses an `.h5` file that is damaged, too large, or asks for what is not known to compute only.

    Args:
        path: the file.
        argument: what gave it, for messages.
        trusted: whether what it holds may run code.
        remedy: what to do about a file that asks for more than tfkd allows.
        old: whether tf_keras reads it.

    Returns:
        How many bytes of weights it holds.
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
            "Build the model, call its load_weights on the file and pass the model instead of the path.",
        )
    if not trusted:
        untrusted.check_configuration(_whole(config), what, remedy, old)
    return stored


def _whole(config):
    """A configuration of which the oldest versions have the layers of a Sequential model as a bare list."""
    inner = config.get("config") if isinstance(config, dict) else None
    return {**config, "config": {"layers": inner}} if isinstance(inner, list) else config


def check_outputs(model: Any, what: str) -> None:
    """Refuses a network of which one layer makes more of one example than memory holds of a few.

    Args:
        model: of Keras 3 or tf_keras.
        what: the argument and the file, for the message.

    Raises:
        ValueError: if it does.
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
            # Nobody who loads a file can do anything about how its layers were given their shapes.
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
    """What to do about a file that a newer minor version of Keras wrote; None for any other."""
    metadata = untrusted.read_metadata(path, what) if is_zip(path) else {}
    written = metadata.get("keras_version") if isinstance(metadata, dict) else None
    if not isinstance(written, str) or minor_version(written) <= minor_version(keras.__version__):
        return None
    return (
        f"Keras {written[:20]} wrote it, and {keras.__version__} is installed: pip install --upgrade keras "
        "(Keras has needed Python 3.11 since 3.13), or save the model with the older version."
    )
