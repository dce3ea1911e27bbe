"""Fingerprints that identify models by their layers and weights."""

import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.asking import answers
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.layouts import probes


def fingerprint(model: keras.Model) -> str:
    """A fingerprint of a model: 16 hexadecimal digits from its layers and weights, but not their names.

    A black box is identified by its outputs for a fixed set of 128 synthetic inputs: which of them exceed
    the median of that output, and their mean magnitude and standard deviation to two digits. Differences in
    the order of summation change neither.

    Args:
        model: a built model.

    Returns:
        The same digits for the same layers with the same weights, in any process.

    Raises:
        ValueError: if the model has no weights yet.
    """
    if getattr(model, "black_box", False):
        return _of_answers(model)
    if not model.weights:
        raise ValueError(
            f"Model {model.name!r} has no weights to identify it by. Build it first: call it on a batch."
        )
    digest = hashlib.sha256()
    for layer in flatten_layers(model):
        digest.update(
            json.dumps([type(layer).__name__, _options(layer)], sort_keys=True, default=str).encode()
        )
    # While a step is being traced, weights can be read only outside its graph.
    with tf.init_scope():
        for weight in model.weights:
            values = np.ascontiguousarray(weight.numpy())
            digest.update(f"{values.shape} {values.dtype}".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def _of_answers(model):
    with tf.init_scope():
        outputs = answers(model, probes(model))
    digest = hashlib.sha256(f"{model.output_shape}".encode())
    digest.update(np.packbits(outputs > np.median(outputs, axis=0)).tobytes())
    digest.update(f"{np.abs(outputs).mean():.1e} {outputs.std():.1e}".encode())
    return digest.hexdigest()[:16]


def _options(layer):
    """A layer's configuration, without the entries that do not affect its outputs."""
    if flatten_layers(layer, include_self=False, recursive=False):
        return {}
    try:
        config = layer.get_config()
    except NotImplementedError:
        return {}
    aside = "name", "dtype", "trainable", "batch_shape", "build_config"
    kept = {key: value for key, value in config.items() if key not in aside and not _of_training(key)}
    return _without_ids(kept)


def _without_ids(config):
    """A configuration without the ids that Keras assigns to objects while it saves a model."""
    if not isinstance(config, dict):
        return config
    return {key: _without_ids(value) for key, value in config.items() if key != "shared_object_id"}


def _of_training(key):
    return key.endswith(("_initializer", "_regularizer", "_constraint"))
