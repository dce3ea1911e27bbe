"""Rebuilds the Keras models of SavedModel folders that Keras 2 wrote."""

import json
import os
from typing import Any

import keras
from tensorflow.core.protobuf import saved_model_pb2

from tfkd._core import model_files, untrusted
from tfkd.compression._from_tf_keras import from_tf_keras

_METADATA, _VARIABLES = "keras_metadata.pb", os.path.join("variables", "variables")


def read_folder(path: str, what: str) -> keras.Model:
    """The Keras model of a SavedModel folder, by its configuration and its weights alone.

    None of the folder's functions is loaded: layers are made of the configuration, which is looked through
    first, and take the values of the folder's checkpoint.

    Args:
        path: a folder that `untrusted.check_saved_model` has looked at.
        what: the argument and the folder, for messages.

    Returns:
        A Keras 3 model that is not compiled.

    Raises:
        ValueError: if Keras 2 did not write it, it asks for what is not known to compute only, or has no
            counterpart in Keras 3.
        Exception: whatever tf_keras raises over a folder that is damaged.
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
    """Class and configuration of the model that is the folder's root."""
    text = _metadata(path)
    if not text:
        raise ValueError("it holds functions, and no model of Keras 2 with its layers")
    described = json.loads(text)
    config = described.get("config") if isinstance(described, dict) else None
    if not isinstance(config, dict) or "layers" not in config:
        raise ValueError("it holds a model without a configuration of its layers, such as a subclassed one")
    return {"class_name": described.get("class_name"), "config": config}


def _metadata(path):
    """What Keras says of the root: in a file of its own since TensorFlow 2.5, before that in the graph."""
    from tf_keras.protobuf import saved_metadata_pb2

    try:
        with open(os.path.join(path, _METADATA), "rb") as file:
            nodes = saved_metadata_pb2.SavedMetadata.FromString(file.read()).nodes
            return next((node.metadata for node in nodes if node.node_id == 0), "")
    except FileNotFoundError:
        with open(os.path.join(path, "saved_model.pb"), "rb") as file:
            graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].object_graph_def
        return graph.nodes[0].user_object.metadata if graph.nodes else ""
