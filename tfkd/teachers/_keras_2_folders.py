"""Rebuilds the Keras models in SavedModel folders written by Keras 2."""

import json
import os
from typing import Any

import keras
from tensorflow.core.protobuf import saved_model_pb2

from tfkd._core import model_files, untrusted
from tfkd.compression._from_tf_keras import from_tf_keras

_METADATA, _VARIABLES = "keras_metadata.pb", os.path.join("variables", "variables")


def read_folder(path: str, what: str) -> keras.Model:
    """The Keras model of a SavedModel folder, from its config and weights alone.

    None of the folder's functions is loaded: layers are created from the config, which is checked first,
    and get the values of the folder's checkpoint.

    Args:
        path: a folder that passed `untrusted.check_saved_model`.
        what: the argument and the folder, for messages.

    Returns:
        An uncompiled Keras 3 model.

    Raises:
        ValueError: if it was not written by Keras 2, needs operations not known to be safe, or has no
            counterpart in Keras 3.
        Exception: any exception that tf_keras raises for a damaged folder.
    """
    import tf_keras

    config = _configuration(path)
    untrusted.check_configuration(config, what, "", old=True)
    stored = sum(entry.stat().st_size for entry in os.scandir(os.path.join(path, "variables")))
    with untrusted.weights_within(what, stored):
        old = tf_keras.models.model_from_json(json.dumps(config))
    old.load_weights(os.path.join(path, _VARIABLES)).assert_existing_objects_matched()
    model_files.check_outputs(old, what)
    return from_tf_keras(old)


def _configuration(path: str) -> dict[str, Any]:
    """Class and config of the folder's root model."""
    text = _metadata(path)
    if not text:
        raise ValueError("it contains functions, but no Keras 2 model with layers")
    described = json.loads(text)
    config = described.get("config") if isinstance(described, dict) else None
    if not isinstance(config, dict) or "layers" not in config:
        raise ValueError("it contains a model without a config of its layers, such as a subclassed one")
    return {"class_name": described.get("class_name"), "config": config}


def _metadata(path):
    """Keras's metadata of the root: in a separate file since TensorFlow 2.5, in the graph before."""
    from tf_keras.protobuf import saved_metadata_pb2

    try:
        with open(os.path.join(path, _METADATA), "rb") as file:
            nodes = saved_metadata_pb2.SavedMetadata.FromString(file.read()).nodes
            return next((node.metadata for node in nodes if node.node_id == 0), "")
    except FileNotFoundError:
        with open(os.path.join(path, "saved_model.pb"), "rb") as file:
            graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].object_graph_def
        return graph.nodes[0].user_object.metadata if graph.nodes else ""
