"""Rebuilds tf_keras models in Keras 3."""

import json
from typing import Any

import keras

from tfkd.compression.activations import name_in_keras
from tfkd.compression.layer_options import NEW_NAMES, options_of
from tfkd.compression.same_outputs import check_same_outputs
from tfkd.graphs import copy_weights


def from_tf_keras(model: Any) -> keras.Model:
    """The same network in Keras 3: same layers, names (a `/` becomes `_`), weights and outputs.

    Args:
        model: a functional or Sequential `tf_keras.Model`, nested and shared layers included.

    Returns:
        A Keras 3 model with weights of its own, not compiled.

    Raises:
        ValueError: if a layer has no counterpart in Keras 3, runs code of its own (Lambda), or the rebuilt
            model computes something else.

    Example:
        >>> new = tfkd.compression.from_tf_keras(tf_keras.models.load_model("old.h5"))
    """
    config = _configuration(model)
    if unknown := _unknown_layers(config):
        raise ValueError(f"`model`: {model.name!r} has layers that Keras 3 does not have: {unknown}.")
    config = _modern(config)
    made = getattr(keras, config["class_name"].replace("Functional", "Model")).from_config(config["config"])
    _copy_by_name(model, made)
    check_same_outputs(made, model, "tf_keras", "Keras 3")
    return made


def _configuration(old):
    """The model's configuration as tf_keras writes it today, with names that Keras 3 allows."""
    text = old.to_json()
    for layer in old._flatten_layers():
        text = text.replace(json.dumps(layer.name), json.dumps(_allowed(layer.name)))
    return json.loads(text)


def _allowed(name):
    return name.replace("/", "_")


def _unknown_layers(entry):
    """Layers without a counterpart in Keras 3, as "name (class)", in models however deep."""
    kind, config = entry["class_name"], entry["config"]
    if "layers" in config:
        return [found for inner in config["layers"] for found in _unknown_layers(inner)]
    return [] if hasattr(keras.layers, kind) and kind != "Lambda" else [f"{config['name']} ({kind})"]


def _modern(entry):
    """A layer's or model's entry with those options that Keras 3 knows.

    Options fall away that it has no place for, such as `groups` of a DepthwiseConv2D. Where that changes
    what a layer does, the outputs tell.
    """
    config = dict(entry["config"])
    if "layers" in config:
        config["layers"] = [_modern(inner) for inner in config["layers"]]
        if "input_layers" in config:
            _connect(config)
    else:
        renamed = NEW_NAMES.get(entry["class_name"], {})
        config = {renamed.get(key, key): value for key, value in config.items()}
        known = options_of(getattr(keras.layers, entry["class_name"]))
        config = {key: _option(value) for key, value in config.items() if key in known}
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = config["dtype"]["config"]["name"]
    # Without these keys Keras 3 reads an entry as the older form that it is.
    aside = "module", "registered_name", "build_config"
    return {**{key: value for key, value in entry.items() if key not in aside}, "config": config}


def _option(value):
    """An option's value: layers, such as the one that a Bidirectional holds, are entries themselves."""
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    if isinstance(getattr(keras.layers, value["class_name"], None), type):
        return {**_modern(value), "module": "keras.layers", "registered_name": None}
    if value["class_name"] == "function":
        # A function of Keras 3 that `to_tf_keras` put there.
        return name_in_keras(value["config"])
    return value


def _connect(config):
    """Makes references to layers in a functional model's configuration Keras 3's.

    Calls of a nested model count from 0 instead of 1, and a single input or output is no list.
    """
    kinds = {inner["config"]["name"]: inner["class_name"] for inner in config["layers"]}
    nested = [name for name, kind in kinds.items() if kind in ("Functional", "Sequential")]
    for inner in config["layers"]:
        counted = _counted_from_0(inner["inbound_nodes"], nested)
        inner["inbound_nodes"] = [_with_tensors_by_name(node, kinds) for node in counted]
    # Among the outputs Keras 3 counts nested functional models like that itself.
    sequential = [name for name in nested if kinds[name] == "Sequential"]
    config["output_layers"] = _counted_from_0(config["output_layers"], sequential)
    for key in ("input_layers", "output_layers"):
        if isinstance(config[key], list) and len(config[key]) == 1:
            config[key] = config[key][0]


def _with_tensors_by_name(node, layer_names):
    """A call in Keras 3's newer form where tensors are given by name, which the older has no place for."""

    def tensor(reference):
        # The shape is not looked at.
        history = {"shape": [], "dtype": "float32", "keras_history": reference[:3]}
        return {"class_name": "__keras_tensor__", "config": history}

    def refers(value):
        return isinstance(value, list) and any(value[:1] == [name] for name in layer_names)

    options = node[0][3]
    if not any(map(refers, options.values())):
        return node
    args = [tensor(reference) for reference in node]
    kwargs = {key: tensor(value) if refers(value) else value for key, value in options.items()}
    return {"args": args if len(args) == 1 else [args], "kwargs": kwargs}


def _counted_from_0(node, nested):
    """References such as ["layer", call, tensor, options], however deep, changed for some."""
    if isinstance(node, dict):
        return {key: _counted_from_0(each, nested) for key, each in node.items()}
    if not isinstance(node, list) or not node:
        return node
    if node[0] in nested:
        return [node[0], node[1] - 1, *node[2:]]
    return [_counted_from_0(each, nested) for each in node]


def _copy_by_name(old, new):
    """Gives each layer the weights of its namesake; models list their layers in orders of their own."""
    for layer in old.layers:
        target = new.get_layer(_allowed(layer.name))
        if isinstance(target, keras.Model):
            _copy_by_name(layer, target)
        else:
            copy_weights(layer, target)
