"""Reads `.h5` files of older Keras versions, those that Keras 3 refuses by way of tf_keras."""

import inspect
import json
import warnings

import h5py
import keras
import numpy as np

from tfkd.graphs import copy_weights

_TOLERANCE = 1e-5
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
            f"`path`: {path!r} holds weights only. Build the model, call its load_weights on the file and "
            "pass the model instead of the path."
        )
    # Written anew, since JSON can spell the same text in other ways.
    if '"class_name": "Lambda"' in json.dumps(json.loads(config)):
        raise ValueError(
            f"`path`: {path!r} has a Lambda layer, code that tfkd does not run from old files. {_REMEDY}"
        )


def _rebuilt(path, refusal):
    import tf_keras

    try:
        old = tf_keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ValueError(
            f"`path`: neither Keras 3 nor tf_keras can load {path!r}. Keras 3: {refusal} tf_keras: {error} "
            f"{_REMEDY}"
        ) from error
    config = _configuration(old)
    if unknown := _unknown_layers(config):
        raise ValueError(f"`path`: {path!r} has layers that Keras 3 does not have: {unknown}. {_REMEDY}")
    try:
        config = _modern(config)
        new = getattr(keras, config["class_name"].replace("Functional", "Model")).from_config(
            config["config"]
        )
        _copy_by_name(old, new)
    except Exception as error:
        raise ValueError(f"`path`: {path!r} cannot be built again in Keras 3: {error} {_REMEDY}") from error
    _compare(old, new, path)
    return new


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
    return [] if hasattr(keras.layers, kind) else [f"{config['name']} ({kind})"]


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
        renamed = _NEW_NAMES.get(entry["class_name"], {})
        config = {renamed.get(key, key): value for key, value in config.items()}
        known = _options(getattr(keras.layers, entry["class_name"]))
        config = {key: value for key, value in config.items() if key in known}
        if isinstance(config.get("dtype"), dict):
            config["dtype"] = config["dtype"]["config"]["name"]
    # Without these keys Keras 3 reads an entry as the older form that it is.
    aside = "module", "registered_name", "build_config"
    return {**{key: value for key, value in entry.items() if key not in aside}, "config": config}


def _connect(config):
    """Makes references to layers in a functional model's configuration Keras 3's.

    Calls of a nested model count from 0 instead of 1, and a single input or output is no list.
    """
    kinds = {inner["config"]["name"]: inner["class_name"] for inner in config["layers"]}
    nested = [name for name, kind in kinds.items() if kind in ("Functional", "Sequential")]
    for inner in config["layers"]:
        inner["inbound_nodes"] = _counted_from_0(inner["inbound_nodes"], nested)
    # Among the outputs Keras 3 counts nested functional models like that itself.
    sequential = [name for name in nested if kinds[name] == "Sequential"]
    config["output_layers"] = _counted_from_0(config["output_layers"], sequential)
    for key in ("input_layers", "output_layers"):
        if len(config[key]) == 1:
            config[key] = config[key][0]


def _counted_from_0(node, nested):
    """References such as ["layer", call, tensor, options], in lists however deep, changed for some."""
    if not isinstance(node, list) or not node:
        return node
    if node[0] in nested:
        return [node[0], node[1] - 1, *node[2:]]
    return [_counted_from_0(each, nested) for each in node]


_NEW_NAMES = {
    "InputLayer": {"batch_input_shape": "batch_shape"},
    "LeakyReLU": {"alpha": "negative_slope"},
}


def _options(layer_class):
    """The arguments of a layer's class, and of those it derives from as far as it passes them on."""
    known = set()
    for constructor in (each.__init__ for each in layer_class.__mro__ if "__init__" in vars(each)):
        parameters = inspect.signature(constructor).parameters.values()
        known |= {parameter.name for parameter in parameters}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return known


def _copy_by_name(old, new):
    """Gives each layer the weights of its namesake; models list their layers in orders of their own."""
    for layer in old.layers:
        target = new.get_layer(_allowed(layer.name))
        if isinstance(target, keras.Model):
            _copy_by_name(layer, target)
        else:
            copy_weights(layer, target)


def _compare(old, new, path):
    rng = np.random.default_rng(0)
    # Where a size is open, 32 is enough for most networks.
    sizes = [[size or 32 for size in tensor.shape[1:]] for tensor in new.inputs]
    inputs = [rng.uniform(size=(4, *size)).astype("float32") for size in sizes]
    inputs = inputs[0] if len(inputs) == 1 else inputs
    outputs = [keras.tree.flatten(model(inputs, training=False)) for model in (old, new)]
    for expected, ours in zip(*outputs, strict=True):
        expected, ours = np.asarray(expected, "float32"), np.asarray(ours, "float32")
        difference = np.abs(expected - ours).max()
        # NaN compares as false, so that a difference of NaN is refused, too.
        if not difference <= _TOLERANCE * max(1.0, np.abs(expected).max()):
            raise ValueError(
                f"`path`: {path!r}, built again in Keras 3, computes something else than in tf_keras: "
                f"outputs on random inputs differ by up to {difference:.2g}. {_REMEDY}"
            )
