"""Reads `.h5` files of older Keras versions, those that Keras 3 refuses by way of tf_keras."""

import json
import warnings

import h5py
import keras

from tfkd.compression._from_tf_keras import from_tf_keras

_REMEDY = (
    "Build the model in Keras 3, load its weights and pass the model instead of the path; or export it, "
    "with the Keras that it was made with, to a SavedModel folder or a .tflite file, which serve as black "
    "boxes."
)


def read_h5(path: str) -> keras.Model:
    """The model of an `.h5` file, whichever Keras wrote it.

    What Keras 3 does not read itself is loaded by tf_keras and built again layer by layer. The two
    models' outputs are then compared.

    Args:
        path: an HDF5 file with a whole model in it.

    Returns:
        A Keras 3 model that is not compiled.

    Raises:
        ValueError: if the file holds weights only, runs code of its own, has layers that Keras 3 does
            not have, or the rebuilt model computes something else.
    """
    try:
        with warnings.catch_warnings():
            # Nobody who loads a file can do anything about how its layers were given their shapes.
            warnings.filterwarnings("ignore", "Do not pass an `input_shape`")
            return keras.models.load_model(path, compile=False)
    except Exception as refusal:
        _check_content(path)
        return _rebuilt(path, refusal)


def _check_content(path):
    with h5py.File(path) as file:
        config = file.attrs.get("model_config")
    if config is None:
        raise ValueError(
            f"`source`: {path!r} holds weights only. Build the model, call its load_weights on the file "
            "and pass the model instead of the path."
        )
    # Written again, since JSON can spell the same text in other ways.
    if '"class_name": "Lambda"' in json.dumps(json.loads(config)):
        raise ValueError(
            f"`source`: {path!r} has a Lambda layer, code that tfkd does not run from old files. {_REMEDY}"
        )


def _rebuilt(path, refusal):
    import tf_keras

    try:
        old = tf_keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"`source`: neither Keras 3 nor tf_keras can load {path!r}. Keras 3: {refusal} tf_keras: "
            f"{error} {_REMEDY}"
        ) from error
    try:
        return from_tf_keras(old)
    except Exception as error:
        raise ValueError(
            f"`source`: {path!r} cannot be built again in Keras 3: {error} {_REMEDY}"
        ) from error
