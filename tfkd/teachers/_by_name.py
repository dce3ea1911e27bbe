"""Networks by name, with their own preprocessing: `keras.applications:...`, `keras_hub:...`."""

import importlib
import inspect
import os
from typing import Any

import keras
import numpy as np
from keras import layers

from tfkd._core import names, untrusted
from tfkd._core.graphs import apply_layers
from tfkd.teachers._hub_presets import preset
from tfkd.teachers._input_scaling import Scaling, candidates
from tfkd.teachers._scaling import preparation

APPLICATIONS, HUB = "keras.applications:", "keras_hub:"
# The layer that marks a network as taking [0, 1].
OWN_PREPROCESSING = "own_preprocessing"
# A pixel for which every scaling gives different values.
_COLOUR = (10.0, 100.0, 200.0)
_IMAGENET = "imagenet"
_OFFLINE = (
    "Without network access, give a file with its weights: weights='name.weights.h5' "
    "(--teacher_weights=name.weights.h5)."
)
_OTHER = (
    "Give weights written by save_weights of exactly this network (--teacher_weights). For a network with "
    "other classes or another size, save the whole model and give that as the teacher."
)


def is_name(source: Any) -> bool:
    """Whether a teacher is given by such a name rather than by a file."""
    return isinstance(source, str) and source.startswith((APPLICATIONS, HUB))


def network_named(source: str, weights: str | os.PathLike | None) -> keras.Model:
    """A network by name that takes images in [0, 1].

    Args:
        source: a name such as "keras.applications:MobileNetV2" or "keras_hub:resnet_18_imagenet", or
            "keras_hub:" and a folder with a classifier saved by keras-hub.
        weights: an `.h5` weights file for a network of `keras.applications`; None to download the ImageNet
            weights.

    Returns:
        An uncompiled Keras model.

    Raises:
        ImportError: if keras-hub is needed and not installed.
        ValueError: if there is no such network, or its weights cannot be obtained.
    """
    if source.startswith(HUB):
        if weights is not None:
            raise ValueError(
                "`weights` is for networks of keras.applications; a keras-hub preset has its own. "
                f"Received: weights={weights!r} with {source!r}. Leave it out (--teacher_weights)."
            )
        network, scaling = preset(source.removeprefix(HUB))
    else:
        network, scaling = _application(source, source.removeprefix(APPLICATIONS), weights)
    return _with_preprocessing(network, scaling)


def _application(source, name, weights):
    weights = None if weights is None else os.fspath(weights)
    known = {each: value for each, value in vars(keras.applications).items() if inspect.isfunction(value)}
    build = names.lookup(known, name, "network of keras.applications")
    if weights is not None:
        _check_weights(weights)
    try:
        network = build(weights=_IMAGENET if weights is None else weights)
    except Exception as error:
        # Any failure of a download or of loading weights.
        given = "could not be downloaded" if weights is None else f"are not those in {weights!r}"
        remedy = _OFFLINE if weights is None else _OTHER
        reason = untrusted.in_one_line(error)[:200]
        raise ValueError(f"`source`: the weights of {source!r} {given}: {reason} {remedy}") from error
    return network, _own_scaling(importlib.import_module(build.__module__).preprocess_input)


def _check_weights(path):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"`weights`: the file {path!r} does not exist (--teacher_weights).")
    what = f"`weights`: {path!r}"
    untrusted.check_hdf5_can_be_read(path, what)
    untrusted.check_hdf5(path, what)


def _own_scaling(preprocess) -> Scaling:
    """The scaling equivalent to a network's own preprocessing function for images of 0 to 255."""
    image = np.array(_COLOUR, "float32").reshape(1, 1, 1, 3)
    expected = preprocess(image.copy(), data_format="channels_last")
    for scaling in candidates(3):
        prepared = preparation(shape=(1, 1, 3), **scaling.options).of_arrays(image / 255)
        if np.allclose(prepared, expected, atol=1e-3):
            return scaling
    raise ValueError(f"{preprocess.__module__} scales images in an unknown way.")


def _with_preprocessing(network, scaling):
    shape = tuple(network.input_shape[1:])
    x = inputs = keras.Input(shape, name="image")
    prepared = preparation(shape=shape, **scaling.options)
    x = x[..., ::-1] if prepared.reverse else x
    factor, offset = (np.broadcast_to(each, shape[-1:]).tolist() for each in prepared[:2])
    x = layers.Rescaling(factor, offset, name=OWN_PREPROCESSING)(x)
    return keras.Model(inputs, apply_layers(network, x), name=network.name)
