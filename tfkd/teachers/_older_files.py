"""Reads files of older Keras versions with tf_keras."""

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

import keras

from tfkd._core import model_files, untrusted
from tfkd._core.untrusted import RefusedFile, refusal
from tfkd.compression._from_tf_keras import from_tf_keras

_ARGUMENT = "source"
_REMEDY = (
    "Build the model in Keras 3, load its weights and pass the model instead of the path; or export it, "
    "with the Keras version that made it, to a SavedModel folder or a .tflite file, which work as black "
    "boxes."
)
TRUST = (
    "Register your own classes with keras.saving.register_keras_serializable, or give their file as "
    "--import. If you trust the file's author, pass trust_files=True (--trust_files), which runs its "
    "content; or load it with keras.models.load_model(path, safe_mode=False, custom_objects=...) and pass "
    "the model."
)
_MODELS = {"Functional": "tf_keras.src.engine.functional", "Model": "keras", "Sequential": "keras"}


def read_h5(path: str, trusted: bool = False) -> keras.Model:
    """The model in an `.h5` file, whichever Keras version wrote it.

    Files that Keras 3 cannot read are loaded by tf_keras and rebuilt layer by layer. The outputs of both
    models are then compared.

    Args:
        path: an HDF5 file with a whole model.
        trusted: whether its content may run code.

    Returns:
        A Keras 3 model that is not compiled.

    Raises:
        ValueError: if the file contains only weights, is damaged or too large, needs operations not known
            to be safe, has layers that Keras 3 lacks, or the rebuilt model computes something different.
    """
    what = model_files.describe(_ARGUMENT, path)
    untrusted.check_hdf5_can_be_read(path, what)
    if untrusted.hdf5_version(path, what).startswith("3."):
        return model_files.load_hdf5(path, _ARGUMENT, trusted, model_files.BY_HAND if trusted else TRUST)
    try:
        return model_files.load_hdf5(path, _ARGUMENT, trusted, _REMEDY)
    except RefusedFile as refused:
        if refused.__cause__ is None:
            # The error did not come from Keras.
            raise
        reason = refused.__cause__
    stored = model_files.check_hdf5(path, _ARGUMENT, trusted, _REMEDY, old=True)
    return _rebuilt(path, what, stored, reason)


def is_of_keras_2(path: str) -> bool:
    """Whether a `.keras` file was written by Keras 2 (TensorFlow 2.12 to 2.15, or tf_keras)."""
    metadata = untrusted.read_metadata(path, model_files.describe(_ARGUMENT, path))
    return isinstance(metadata, dict) and str(metadata.get("keras_version", "")).startswith("2.")


def read_keras_2(path: str, trusted: bool = False) -> keras.Model:
    """The model in a `.keras` file written by Keras 2; like `read_h5`."""
    what = model_files.describe(_ARGUMENT, path)
    config = untrusted.read_configuration(path, what)
    if not trusted:
        untrusted.check_configuration(config, what, _REMEDY, old=True)
    stored = untrusted.check_hdf5_entry(path, what)
    with _as_of_tf_keras(path, config) as copied:
        return _rebuilt(copied, what, stored, None)


@contextlib.contextmanager
def _as_of_tf_keras(path: str, config: Any) -> Iterator[str]:
    """A copy of a Keras 2 file with tf_keras's module names, in a separate folder.

    tf_keras opens files for writing and modifies other entries.
    """
    with tempfile.TemporaryDirectory() as folder:
        copied = os.path.join(folder, "model.keras")
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(copied, "w") as new:
            new.writestr("config.json", json.dumps(_moved(config)))
            for name in ("metadata.json", "model.weights.h5"):
                new.writestr(name, old.read(name))
        yield copied


def _moved(entry):
    if isinstance(entry, dict):
        kind = entry.get("class_name")
        moved = {"module": _MODELS[kind]} if "module" in entry and kind in _MODELS else {}
        return {key: _moved(value) for key, value in entry.items()} | moved
    return [_moved(each) for each in entry] if isinstance(entry, list) else entry


def _rebuilt(path, what, stored, refused):
    import tf_keras

    try:
        with untrusted.weights_within(what, stored):
            old = tf_keras.models.load_model(path, compile=False)
    except RefusedFile:
        raise
    except Exception as error:
        # Both messages should be visible, even if long.
        ours = "" if refused is None else f" Keras 3: {untrusted.in_one_line(refused)[:120]};"
        raise refusal(what, f"cannot be loaded by any Keras.{ours} tf_keras: {error}", _REMEDY) from error
    model_files.check_outputs(old, what)
    try:
        return from_tf_keras(old)
    except Exception as error:
        raise refusal(what, f"cannot be rebuilt in Keras 3: {error}", _REMEDY) from error
