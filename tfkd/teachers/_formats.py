"""Opens teacher files of any kind."""

import os

import keras
import numpy as np

from tfkd._core import model_files, untrusted
from tfkd._core.runtimes import SavedModelFolder, TFLiteFile, require_litert
from tfkd.teachers._by_name import is_name, network_named
from tfkd.teachers._from_tflite import from_tflite
from tfkd.teachers._keras_2_folders import read_folder
from tfkd.teachers._older_files import TRUST, is_of_keras_2, read_h5, read_keras_2
from tfkd.teachers._rebuilding import rebuilt

_ARGUMENT = "source"
Network = keras.Model | TFLiteFile | SavedModelFolder


def read(path: str, trusted: bool = False, weights: str | os.PathLike | None = None) -> Network:
    """The network in a teacher's file, identified by content; or a network by name.

    Args:
        path: a `.keras` or `.h5` file, a `.tflite` file or a SavedModel folder; or a name.
        trusted: whether its content may run code and access files.
        weights: a weights file for a network by name.

    Returns:
        A Keras model, or a black-box file, with the reason.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if it is of another kind, damaged or too large, needs operations not known to be safe,
            or does not contain a model.
    """
    if is_name(path):
        return network_named(path, weights)
    if weights is not None:
        raise ValueError(
            "`weights` is for a network by name, such as 'keras.applications:MobileNetV2', not for a "
            f"whole model. Received: weights={weights!r} with {path!r}. Leave it out (--teacher_weights)."
        )
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"`source`: the file {path!r} does not exist. Give a trained .keras or .h5 file, a SavedModel "
            "folder, a .tflite file, or a name such as keras.applications:MobileNetV2."
        )
    what = model_files.describe(_ARGUMENT, path)
    if os.path.exists(os.path.join(path, "saved_model.pb")):
        untrusted.check_saved_model(path, what, trusted)
        file = _opened(SavedModelFolder, path, what, "a SavedModel")
        return rebuilt(file, lambda: read_folder(path, what), what)
    if os.path.isfile(path) and path.endswith(".tflite"):
        require_litert()
        untrusted.check_size(what, os.path.getsize(path))
        with open(path, "rb") as file:
            content = file.read()
        untrusted.check_tflite(content, what)
        file = _opened(TFLiteFile, content, what, "a TFLite file")
        name = os.path.splitext(os.path.basename(path))[0]
        return rebuilt(file, lambda: from_tflite(content, name), what)
    if model_files.is_zip(path):
        untrusted.check_archive(path, what)
        if is_of_keras_2(path):
            return read_keras_2(path, trusted)
        return model_files.load_keras(path, _ARGUMENT, trusted, model_files.BY_HAND if trusted else TRUST)
    if model_files.is_hdf5(path):
        return read_h5(path, trusted)
    raise untrusted.refusal(
        what,
        "is not a .keras, .h5 or .tflite file or a SavedModel folder, or it is damaged.",
        "Save the model with model.save('name.keras'); for other formats load it yourself and pass the "
        "model.",
    )


def _opened(kind, source, what, words):
    try:
        opened = kind(source)
        # Some damage only shows when the network runs.
        opened(np.zeros((1, *(size or 1 for size in opened.input_shape[1:])), "float32"))
        return opened
    except Exception as error:
        raise untrusted.refusal(what, f"cannot be used as {words}: {error}") from error
