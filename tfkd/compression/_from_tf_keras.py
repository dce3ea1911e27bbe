"""Rebuilds tf_keras models in Keras 3."""

import json
from typing import Any

import keras

from tfkd._core.graphs import copy_weights
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.tf_functions import CAST, OPERATION_OF, SLICING, Counterpart
from tfkd.compression._activations import name_in_keras
from tfkd.compression._layer_options import NEW_NAMES, options_of
from tfkd.compression._parity import check_same_outputs

# What stands in the place of a layer where an operation has a constant.
_CONSTANT = "_CONSTANT_VALUE"
_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
# What calls of functions carry along that changes nothing.
_WITHOUT_EFFECT = {"name": (None,), "data_format": (None, "NHWC", "NWC", "NDHWC", "N..C")}


def from_tf_keras(model: Any) -> keras.Model:
    """The same network in Keras 3: same layers, names (a `/` becomes `_`), weights and outputs.

    Args:
        model: a functional or Sequential `tf_keras.Model`, nested and shared layers included, + - * /,
            slices such as `x[..., ::-1]` and elementary functions between layers, too.

    Returns:
        A Keras 3 model with weights of its own, not compiled.

    Raises:
        TypeError: if it is a model of Keras 3.
        ValueError: if a layer has no counterpart in Keras 3, runs code of its own (Lambda), or the rebuilt
            model computes something else.

    Example:
        >>> import tf_keras
        >>> new = tfkd.compression.from_tf_keras(tf_keras.models.load_model("old.h5"))
    """
    if isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a model of tf_keras. Received: {model!r}, which is one of Keras 3."
        )
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
    for layer in flatten_layers(old):
        text = text.replace(json.dumps(layer.name), json.dumps(_allowed(layer.name)))
    return json.loads(text)


def _allowed(name):
    return name.replace("/", "_")


def _unknown_layers(entry):
    """Layers without a counterpart in Keras 3, as "name (class)", in models however deep."""
    kind, config = entry["class_name"], entry["config"]
    if "layers" in config:
        return [found for inner in config["layers"] for found in _unknown_layers(inner)]
    if kind in _FUNCTIONS:
        function = config["function"]
        counterpart = OPERATION_OF.get(function)
        known = counterpart and all(_is_simple(node, counterpart) for node in entry["inbound_nodes"])
        return [] if known else [f"{config['name']} (tf.{function})"]
    return [] if hasattr(keras.layers, kind) and kind != "Lambda" else [f"{config['name']} ({kind})"]


def _is_simple(node: Any, counterpart: Counterpart) -> bool:
    """Whether a call has no operands and options but those that its counterpart in Keras 3 has."""
    if len(node) != 4 or not isinstance(node[3], dict):
        return False
    options = {key: value for key, value in node[3].items() if key != counterpart.second}
    return (counterpart.second in (None, *node[3])) and all(
        value in _WITHOUT_EFFECT.get(key, ()) for key, value in options.items()
    )


def _modern(entry: dict[str, Any]) -> dict[str, Any]:
    """A layer's or model's entry with those options that Keras 3 knows.

    Options fall away that it has no place for, such as `groups` of a DepthwiseConv2D. Where that changes
    what a layer does, the outputs tell.
    """
    kind, config = entry["class_name"], dict(entry["config"])
    kept = {key: value for key, value in entry.items() if key not in ("build_config", "module")}
    if kind in _FUNCTIONS:
        operation = _operation(config)
        return {**kept, **keras.saving.serialize_keras_object(operation)}
    if "layers" in config:
        if "input_layers" in config:
            _connect(config)
        config["layers"] = [_modern(inner) for inner in config["layers"]]
        # Without its module Keras 3 reads a model's entry as the older form that it is.
        return {**kept, "config": config}
    renamed = NEW_NAMES.get(kind, {})
    config = {renamed.get(key, key): value for key, value in config.items()}
    known = options_of(getattr(keras.layers, kind))
    config = {key: _option(value) for key, value in config.items() if key in known}
    # Functions of one's own have to be told from names of Keras's.
    for key, value in config.items():
        if key.endswith("activation") and isinstance(value, str):
            own = keras.saving.get_registered_object(value)
            config[key] = keras.saving.serialize_keras_object(own) if own else value
    if isinstance(config.get("dtype"), dict):
        config["dtype"] = config["dtype"]["config"]["name"]
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        # As a batch normalization has it in tf_keras once it is built.
        (config["axis"],) = config["axis"]
    return {**kept, "config": config, "module": "keras.layers", "registered_name": None}


def _operation(config):
    """What computes a function of TensorFlow in Keras 3."""
    options = {"dtype": config["dtype"]} if config["function"] == CAST else {}
    return OPERATION_OF[config["function"]].operation(**options, name=config["name"])


def _option(value: Any) -> Any:
    """An option's value: layers, such as the one that a Bidirectional holds, are entries themselves."""
    if isinstance(value, list):
        return [_option(each) for each in value]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    if isinstance(getattr(keras.layers, value["class_name"], None), type):
        return _modern(value)
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
        if inner["class_name"] in _FUNCTIONS:
            if inner["config"]["function"] == CAST:
                # To what it casts is an option of the operation, not of its call.
                inner["config"]["dtype"] = counted[0][3]["dtype"]
            inner["inbound_nodes"] = [
                _of_operands(node, kinds, inner["config"]["function"]) for node in counted
            ]
        else:
            inner["inbound_nodes"] = [_with_tensors_by_name(node, kinds) for node in counted]
    # Among the outputs Keras 3 counts nested functional models like that itself.
    sequential = [name for name in nested if kinds[name] == "Sequential"]
    config["output_layers"] = _counted_from_0(config["output_layers"], sequential)
    for key in ("input_layers", "output_layers"):
        if isinstance(config[key], list) and len(config[key]) == 1:
            config[key] = config[key][0]


def _with_tensors_by_name(node, layer_names):
    """A call in Keras 3's newer form where tensors are given by name, which the older has no place for."""
    if isinstance(node, dict):
        return {"args": [{key: _tensor(reference) for key, reference in node.items()}], "kwargs": {}}
    options = node[0][3]
    if not any(_refers(value, layer_names) for value in options.values()):
        return node
    args = [_tensor(reference) for reference in node]
    kwargs = {k: _tensor(value) if _refers(value, layer_names) else value for k, value in options.items()}
    return {"args": args if len(args) == 1 else [args], "kwargs": kwargs}


def _of_operands(node, layer_names, function):
    """The call of an operation with one or two operands, each of which is a tensor or a constant."""
    _, _, first, options = node
    args = [_constant(first) if node[0] == _CONSTANT else _tensor(node)]
    second = options.get(OPERATION_OF[function].second)
    if function == SLICING:
        args.append(_key(second))
    elif function != CAST and second is not None:
        args.append(_tensor(second) if _refers(second, layer_names) else _constant(second))
    return {"args": args, "kwargs": {}}


def _key(spec):
    """What stands in the brackets of a slice, in Keras 3's form."""
    if isinstance(spec, list):
        return [_key(each) for each in spec]
    if not isinstance(spec, dict):
        return spec
    if spec.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    return {"class_name": "__slice__", "config": spec}


def _constant(value):
    """A number as it is, an array in Keras 3's form."""
    if not isinstance(value, list):
        return value
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}}


def _tensor(reference):
    # The shape is not looked at.
    history = {"shape": [], "dtype": "float32", "keras_history": reference[:3]}
    return {"class_name": "__keras_tensor__", "config": history}


def _refers(value, layer_names):
    return isinstance(value, list) and any(value[:1] == [name] for name in layer_names)


def _counted_from_0(node, nested):
    """References such as ["layer", call, tensor, options], however deep, changed for some."""
    if isinstance(node, dict):
        return {key: _counted_from_0(each, nested) for key, each in node.items()}
    if not isinstance(node, list) or not node:
        return node
    if node[0] in nested:
        return [node[0], node[1] - 1, *(_counted_from_0(each, nested) for each in node[2:])]
    return [_counted_from_0(each, nested) for each in node]


def _copy_by_name(old, new):
    """Gives each layer the weights of its namesake; models list their layers in orders of their own."""
    for layer in old.layers:
        # Operations have no weights, and are no layers in Keras 3.
        if not layer.weights:
            continue
        target = new.get_layer(_allowed(layer.name))
        if isinstance(target, keras.Model):
            _copy_by_name(layer, target)
        else:
            copy_weights(layer, target)
