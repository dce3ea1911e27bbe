"""Opens files of teachers, whatever kind they are of."""

import os
import zipfile

import h5py
import keras

from tfkd._core.runtimes import SavedModelFolder, TFLiteFile
from tfkd.teachers._legacy_h5 import read_h5


def read(path: str) -> keras.Model | TFLiteFile | SavedModelFolder:
    """What a teacher's file holds, by its content.

    Args:
        path: a `.keras` or `.h5` file, a `.tflite` file or a SavedModel folder.

    Returns:
        A Keras model, or a file that only answers.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is of another kind, damaged, or holds something else than a model.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"`source`: there is no file {path!r}. Give a trained .keras or .h5 file, a SavedModel folder "
            "or a .tflite file."
        )
    if os.path.exists(os.path.join(path, "saved_model.pb")):
        return _opened(SavedModelFolder, path, path, "a SavedModel")
    if path.endswith(".tflite"):
        with open(path, "rb") as file:
            return _opened(TFLiteFile, file.read(), path, "a TFLite file")
    if os.path.isfile(path) and h5py.is_hdf5(path):
        return read_h5(path)
    if not os.path.isfile(path) or not zipfile.is_zipfile(path):
        raise ValueError(
            f"`source`: {path!r} is not a .keras file, nor an .h5 or .tflite file or SavedModel folder, or "
            "it is damaged. Save the model with model.save('name.keras'); for other formats load it "
            "yourself and pass the model."
        )
    return _read_keras(path)


def _opened(kind, source, path, words):
    try:
        return kind(source)
    except (ValueError, RuntimeError, OSError) as error:
        raise ValueError(f"`source`: {path!r} cannot be used as {words}: {error}") from error


def _read_keras(path):
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"`source`: {path!r} cannot be loaded as a Keras model: {error} If it has Lambda or custom "
            "layers, load it yourself with keras.models.load_model(..., safe_mode=False, "
            "custom_objects=...) and pass the model instead of the path."
        ) from error
