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

# Replaces a layer's name if an operation has a constant operand.
_CONSTANT = "_CONSTANT_VALUE"
_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")
# Options of function calls that have no effect.
_WITHOUT_EFFECT = {"name": (None,), "data_format": (None, "NHWC", "NWC", "NDHWC", "N..C")}


def from_tf_keras(model: Any) -> keras.Model:
    """Rebuilds a tf_keras model in Keras 3, with the same layers, names (`/` becomes `_`) and weights.

    Args:
        model: a functional or Sequential `tf_keras.Model`. It may have nested and shared layers, and + - *
            /, slices such as `x[..., ::-1]` and elementary functions between layers.

    Returns:
        A Keras 3 model with its own weights, not compiled.

    Raises:
        TypeError: if it is a Keras 3 model.
        ValueError: if a layer has no counterpart in Keras 3 or runs custom code (Lambda), or if the rebuilt
            model has different outputs.

    Example:
        >>> import tf_keras
        >>> new = tfkd.compression.from_tf_keras(tf_keras.models.load_model("old.h5"))
    """
    if isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a tf_keras model. Received: {model!r}, which is a Keras 3 model.")
    config = _configuration(model)
    if unknown := _unknown_layers(config):
        raise ValueError(f"`model`: {model.name!r} has layers that Keras 3 does not have: {unknown}.")
    config = _modern(config)
    made = getattr(keras, config["class_name"].replace("Functional", "Model")).from_config(config["config"])
    _copy_by_name(model, made)
    check_same_outputs(made, model, "tf_keras", "Keras 3")
    return made


def _configuration(old):
    """The model's configuration in tf_keras's current form, with names that Keras 3 allows."""
    text = old.to_json()
    for layer in flatten_layers(old):
        text = text.replace(json.dumps(layer.name), json.dumps(_allowed(layer.name)))
    return json.loads(text)


def _allowed(name):
    return name.replace("/", "_")


def _unknown_layers(entry):
    """Layers without a counterpart in Keras 3, as "name (class)", nested ones included."""
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
    """Whether a call has only operands and options that its counterpart in Keras 3 has too."""
    if len(node) != 4 or not isinstance(node[3], dict):
        return False
    options = {key: value for key, value in node[3].items() if key != counterpart.second}
    return (counterpart.second in (None, *node[3])) and all(
        value in _WITHOUT_EFFECT.get(key, ()) for key, value in options.items()
    )


def _modern(entry: dict[str, Any]) -> dict[str, Any]:
    """A layer's or model's entry with the options that Keras 3 has.

    Other options are dropped, such as `groups` of a DepthwiseConv2D. If that matters, the comparison of
    outputs will show it.
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
        # Without a module, Keras 3 reads the entry of a model in the older form.
        return {**kept, "config": config}
    renamed = NEW_NAMES.get(kind, {})
    config = {renamed.get(key, key): value for key, value in config.items()}
    known = options_of(getattr(keras.layers, kind))
    config = {key: _option(value) for key, value in config.items() if key in known}
    # Custom functions must be distinguished from Keras's own names.
    for key, value in config.items():
        if key.endswith("activation") and isinstance(value, str):
            own = keras.saving.get_registered_object(value)
            config[key] = keras.saving.serialize_keras_object(own) if own else value
    if isinstance(config.get("dtype"), dict):
        config["dtype"] = config["dtype"]["config"]["name"]
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        # A built batch normalization in tf_keras has its axis in a list.
        (config["axis"],) = config["axis"]
    return {**kept, "config": config, "module": "keras.layers", "registered_name": None}


def _operation(config):
    """The Keras 3 operation for a TensorFlow function."""
    options = {"dtype": config["dtype"]} if config["function"] == CAST else {}
    return OPERATION_OF[config["function"]].operation(**options, name=config["name"])


def _option(value: Any) -> Any:
    """The value of an option; layers in it, such as the layer of a Bidirectional, are converted, too."""
    if isinstance(value, list):
        return [_option(each) for each in value]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    if isinstance(getattr(keras.layers, value["class_name"], None), type):
        return _modern(value)
    if value["class_name"] == "function":
        # A Keras 3 function from `to_tf_keras`.
        return name_in_keras(value["config"])
    return value


def _connect(config):
    """Converts references to layers in a functional model's configuration to Keras 3's form.

    Calls of a nested model count from 0 instead of 1, and a single input or output is not a list.
    """
    kinds = {inner["config"]["name"]: inner["class_name"] for inner in config["layers"]}
    nested = [name for name, kind in kinds.items() if kind in ("Functional", "Sequential")]
    for inner in config["layers"]:
        counted = _counted_from_0(inner["inbound_nodes"], nested)
        if inner["class_name"] in _FUNCTIONS:
            if inner["config"]["function"] == CAST:
                # The target dtype is an option of the operation, not of its call.
                inner["config"]["dtype"] = counted[0][3]["dtype"]
            inner["inbound_nodes"] = [
                _of_operands(node, kinds, inner["config"]["function"]) for node in counted
            ]
        else:
            inner["inbound_nodes"] = [_with_tensors_by_name(node, kinds) for node in counted]
    # For outputs, Keras 3 adjusts the counts of nested functional models itself.
    sequential = [name for name in nested if kinds[name] == "Sequential"]
    config["output_layers"] = _counted_from_0(config["output_layers"], sequential)
    for key in ("input_layers", "output_layers"):
        if isinstance(config[key], list) and len(config[key]) == 1:
            config[key] = config[key][0]


def _with_tensors_by_name(node, layer_names):
    """A call in Keras 3's newer form, if it has tensors by name, which the older form does not support."""
    if isinstance(node, dict):
        return {"args": [{key: _tensor(reference) for key, reference in node.items()}], "kwargs": {}}
    options = node[0][3]
    if not any(_refers(value, layer_names) for value in options.values()):
        return node
    args = [_tensor(reference) for reference in node]
    kwargs = {k: _tensor(value) if _refers(value, layer_names) else value for k, value in options.items()}
    return {"args": args if len(args) == 1 else [args], "kwargs": kwargs}


def _of_operands(node, layer_names, function):
    """The call of an operation with one or two operands, each a tensor or a constant."""
    _, _, first, options = node
    args = [_constant(first) if node[0] == _CONSTANT else _tensor(node)]
    second = options.get(OPERATION_OF[function].second)
    if function == SLICING:
        args.append(_key(second))
    elif function != CAST and second is not None:
        args.append(_tensor(second) if _refers(second, layer_names) else _constant(second))
    return {"args": args, "kwargs": {}}


def _key(spec):
    """The key of a slice, in Keras 3's form."""
    if isinstance(spec, list):
        return [_key(each) for each in spec]
    if not isinstance(spec, dict):
        return spec
    if spec.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    return {"class_name": "__slice__", "config": spec}


def _constant(value):
    """A number unchanged, an array in Keras 3's form."""
    if not isinstance(value, list):
        return value
    return {"class_name": "__numpy__", "config": {"value": value, "dtype": "float32"}}


def _tensor(reference):
    # The shape is not used.
    history = {"shape": [], "dtype": "float32", "keras_history": reference[:3]}
    return {"class_name": "__keras_tensor__", "config": history}


def _refers(value, layer_names):
    return isinstance(value, list) and any(value[:1] == [name] for name in layer_names)


def _counted_from_0(node, nested):
    """References such as ["layer", call, tensor, options], with the calls of nested models reduced by 1."""
    if isinstance(node, dict):
        return {key: _counted_from_0(each, nested) for key, each in node.items()}
    if not isinstance(node, list) or not node:
        return node
    if node[0] in nested:
        return [node[0], node[1] - 1, *(_counted_from_0(each, nested) for each in node[2:])]
    return [_counted_from_0(each, nested) for each in node]


def _copy_by_name(old, new):
    """Copies weights between layers of the same name, since the two models order layers differently."""
    for layer in old.layers:
        # Operations have no weights, and are not layers in Keras 3.
        if not layer.weights:
            continue
        target = new.get_layer(_allowed(layer.name))
        if isinstance(target, keras.Model):
            _copy_by_name(layer, target)
        else:
            copy_weights(layer, target)
