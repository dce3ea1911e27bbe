"""Rebuilds Keras 3 models in tf_keras, whose layers tfmot can wrap."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from tfkd._core.graphs import has_graph, nodes, operation_of
from tfkd._core.keras_internals import history, mask_of
from tfkd._core.keras_versions import check_keras_model
from tfkd.compression._activations import activation_for_tf_keras
from tfkd.compression._layer_options import NEW_NAMES, adapted_options, options_of
from tfkd.compression._operations import function_of
from tfkd.compression._parity import check_same_outputs
from tfkd.compression._splitting import (
    AttentionParts,
    Parts,
    entries_of_attention,
    entries_of_separable,
    is_separable,
    is_simple_attention,
)

_REMEDY = (
    "Replace it by a layer that tf_keras has too, in the model or in a clone of it, or compress a part of "
    "the model without it."
)
_LONGEST_REASON = 300
# Operations between tensors of equal rank that also exist as layers.
_MERGING = ("Add", "Subtract", "Multiply")
# The layers into which tf_keras turns functions.
_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")


def to_tf_keras(model: keras.Model, flatten: bool = False, separate: bool = False) -> Any:
    """Rebuilds a Keras 3 model in tf_keras, with the same layers, names and weights.

    Args:
        model: a functional or built Sequential Keras 3 model; it may have nested and shared layers, and
            several inputs and outputs.
        flatten: whether the layers of nested models become the model's own, named by path ("block/conv"),
            since tfmot does not look inside nested models.
        separate: whether to split layers into parts that tfmot can quantize: each `SeparableConv2D` into a
            `DepthwiseConv2D` ("name/depthwise") and a `Conv2D` (`name`), and attention between tokens into
            `Dense` projections ("name/query", "name/key", "name/value" and `name`). Outputs of operations
            and of other layers with several arguments pass through an `Activation` ("name/output"), which
            tfmot can round.

    Returns:
        A functional `tf_keras.Model` with its own weights, not compiled.

    Raises:
        TypeError: if it is not a Keras 3 model.
        ValueError: if the model has no known graph, the rebuilt model has different outputs, or a layer
            (named in the message) has no counterpart in tf_keras.

    Example:
        >>> old = tfkd.compression.to_tf_keras(keras.applications.MobileNetV2(weights=None))
    """
    check_keras_model("model", model)
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {model.name!r} "
            f"({type(model).__name__}), whose graph is not known. Write it as a functional model, and copy "
            "the weights of this one."
        )
    rebuilt = _Rebuilding(flatten, separate).model(model)
    check_same_outputs(model, rebuilt, "Keras 3", "tf_keras")
    return rebuilt


class _Rebuilding:
    """Makes the counterparts of layers, each once, however often it is called."""

    def __init__(self, flatten, separate):
        self._flatten, self._separate = flatten, separate
        self._made = {}

    def model(self, model):
        """The counterpart of a functional or Sequential model."""
        import tf_keras

        def input_like(tensor):
            name = history(tensor).operation.name
            return tf_keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)

        graph = getattr(model, "_functional", model)
        given = tree.map_structure(input_like, graph._inputs_struct)
        return tf_keras.Model(given, self._run(model, given, ""), name=model.name)

    def _run(self, model, given, path):
        """The outputs of a model's counterpart for given inputs."""
        graph = getattr(model, "_functional", model)
        # A single tensor may be passed to a model whose input is a list of one.
        known = dict(zip(map(id, graph.inputs), tree.flatten(given), strict=True))
        for node in _without_masks(model):
            outputs = self._call(node, known, path)
            known.update(zip(map(id, node.outputs), tree.flatten(outputs), strict=True))
        return tree.map_structure(lambda tensor: known[id(tensor)], graph._outputs_struct)

    def _call(self, node, known, path):
        """The outputs of a node's counterpart."""
        args, kwargs = tree.map_structure(
            lambda value: known.get(id(value), value) if keras.backend.is_keras_tensor(value) else value,
            _arguments(node),
        )
        operation = node.operation
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        if not isinstance(operation, keras.Layer):
            return self._calculate(operation, args, kwargs, path)
        nested = isinstance(operation, keras.Model) and has_graph(operation)
        if not nested:
            args, kwargs = tree.map_structure(self._rounded, (args, kwargs))
        if nested and self._flatten:
            return self._run(operation, args[0] if args else kwargs["inputs"], f"{path}{operation.name}/")
        first = id(operation) not in self._made
        if first:
            self._made[id(operation)] = (
                self.model(operation) if nested else self._layer(operation, path, args, kwargs)
            )
        made = self._made[id(operation)]
        with _explained(operation.name, type(operation).__name__):
            outputs = made(*args, **kwargs)
        if first and not nested:
            _copy(operation, made)
        made.trainable = operation.trainable
        return self._roundable(outputs, made, args, kwargs, f"{path}{operation.name}")

    def _rounded(self, value):
        """A layer's input; for tfmot, float outputs of operations pass through a layer that it can wrap."""
        import tf_keras

        if not self._separate or not hasattr(value, "_keras_history") or not value.dtype.is_floating:
            return value
        function = value.node.layer
        if type(function).__name__ not in _FUNCTIONS:
            return value
        if id(value) not in self._made:
            layer = tf_keras.layers.Activation("linear", name=f"{function.name}/output")
            # Keep the tensor, so that no other gets its id.
            self._made[id(value)] = (layer(value), value)
        return self._made[id(value)][0]

    def _roundable(self, outputs, made, args, kwargs, name):
        """The outputs of a call; for tfmot, passed through a layer with one argument that it can wrap."""
        import tf_keras

        several = [value for value in tree.flatten((args[1:], kwargs)) if hasattr(value, "_keras_history")]
        if not (self._separate and several) or isinstance(made, Parts):
            return outputs
        names = iter(name + "/output" + "_" * i for i in range(len(tree.flatten(outputs))))
        return tree.map_structure(
            lambda tensor: tf_keras.layers.Activation("linear", name=next(names))(tensor), outputs
        )

    def _calculate(self, operation, args, kwargs, path):
        """The output of an operation between layers, by an equivalent layer if there is one, for tfmot."""
        import tf_keras

        kind, function = type(operation).__name__, function_of(operation)
        with _explained(operation.name, kind):
            args = _of_one_precision(args)
            kinds = [(len(v.shape), v.dtype) for v in args if hasattr(v, "_keras_history")]
            if kind not in _MERGING or len(kinds) < 2 or kinds[0] != kinds[1]:
                return function(
                    *(tf.constant(v) if isinstance(v, np.ndarray) else v for v in args), **kwargs
                )
            if id(operation) not in self._made:
                layer = getattr(tf_keras.layers, kind)
                self._made[id(operation)] = layer(name=path + operation.name, dtype=args[0].dtype)
            return self._made[id(operation)]([self._rounded(each) for each in args])

    def _layer(self, layer, path, args, kwargs):
        """The counterpart of a layer that is not a model, for the given arguments."""

        def parts(entries):
            shapes = [tuple(weight.shape) for weight in layer.weights]
            return [_built_of(entry, layer.name) for entry in entries(layer, path + layer.name)], shapes

        if self._separate and is_separable(layer):
            return Parts(*parts(entries_of_separable))
        if self._separate and is_simple_attention(layer, args, kwargs):
            return AttentionParts(*parts(entries_of_attention), layer.get_config())
        return _counterpart(layer, path)


def _of_one_precision(args):
    """Operands cast to a common dtype, which Keras 3 does by itself but tf_keras does not."""
    dtypes = [v.dtype.name for v in args if hasattr(v, "_keras_history")]
    if len(set(dtypes)) < 2:
        return args
    common = keras.backend.result_type(*dtypes)
    return tuple(tf.cast(v, common) if hasattr(v, "_keras_history") else v for v in args)


def _without_masks(model):
    """The calls that a model's outputs need, without those for masks that Keras passed on by itself."""
    needed, calls = {id(tensor) for tensor in model.outputs}, []
    for node in reversed(nodes(model)):
        made = any(id(tensor) in needed for tensor in node.outputs)
        if made and not isinstance(node.operation, keras.layers.InputLayer):
            needed |= {id(value) for value in tree.flatten(_arguments(node))}
            calls.append(node)
    return calls[::-1]


def _arguments(node):
    """The arguments of a call without those that Keras added: masks of its inputs, and `training`.

    tf_keras makes its own masks. Keras 3 records the layer's default of `training`, which would override
    the argument of the model's call.
    """
    masks = {id(mask) for mask in map(mask_of, node.arguments.keras_tensors) if mask is not None}
    kwargs = {
        key: value
        for key, value in node.arguments.kwargs.items()
        if key != "training" and not (masks and key.endswith("mask") and _is_handed_on(value, masks))
    }
    return node.arguments.args, kwargs


def _is_handed_on(value, masks):
    """Whether a value consists of masks of inputs, or, in cloned models, of masks not made by a layer."""
    return all(
        id(mask) in masks
        or (keras.backend.is_keras_tensor(mask) and not isinstance(operation_of(mask)[0], keras.Layer))
        for mask in tree.flatten(value)
    )


@contextlib.contextmanager
def _explained(name, kind) -> Iterator[None]:
    """Adds the layer's name to errors of tf_keras."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise ValueError(
            f"Layer {name!r} ({kind}) cannot be rebuilt in tf_keras, which says: {reason} {_REMEDY}"
        ) from error


def _counterpart(layer, path):
    """An unbuilt tf_keras layer of the same class and options, with a path before its name."""
    import tf_keras

    ours = getattr(keras.layers, type(layer).__name__, None)
    theirs = getattr(tf_keras.layers, type(layer).__name__, None)
    if type(layer) is not ours or theirs is None or isinstance(layer, keras.layers.Lambda):
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) has no counterpart in tf_keras. {_REMEDY}"
        )
    config = {**layer.get_config(), **adapted_options(layer), "name": path + layer.name}
    return _built_of({"class_name": type(layer).__name__, "config": config}, layer.name)


def _built_of(entry, owner):
    """A tf_keras layer from a Keras 3 layer's class name and configuration."""
    import tf_keras

    kind = entry["class_name"]
    layer_class = getattr(tf_keras.layers, kind, None)
    if layer_class is None:
        raise ValueError(f"Layer {owner!r} holds a {kind}, which tf_keras does not have. {_REMEDY}")
    renamed = {new: old for old, new in NEW_NAMES.get(kind, {}).items()}
    config = {renamed.get(key, key): value for key, value in entry["config"].items()}
    known = options_of(layer_class)
    options = {
        key: _option(key, value, owner)
        for key, value in config.items()
        # Weights are copied, so initializers do not matter.
        if key in known and not key.endswith("_initializer") and value is not None
    }
    with _explained(owner, kind):
        return layer_class(**options)


def _option(key, value, owner):
    """One option as tf_keras takes it."""
    import tf_keras

    if key.endswith("activation"):
        return activation_for_tf_keras(value)
    if isinstance(value, list):
        return [_option("", each, owner) for each in value]
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    if key == "dtype":
        return value["config"]["name"]
    if value["class_name"] in ("__numpy__", "__tensor__"):
        return value["config"]["value"]
    plain = {"class_name": value["class_name"], "config": value["config"]}
    if key.endswith("_regularizer"):
        return tf_keras.regularizers.get(plain)
    if key.endswith("_constraint"):
        return tf_keras.constraints.get(plain)
    return _built_of(plain, owner)


def _copy(layer, made):
    """Copies a layer's weights to its counterpart."""
    if isinstance(layer, keras.layers.Normalization):
        return
    weights, places = layer.get_weights(), made.get_weights()
    if [w.shape for w in weights] != [p.shape for p in places]:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) has weights of shapes "
            f"{[w.shape for w in weights]}, but its counterpart in tf_keras has "
            f"{[p.shape for p in places]}. {_REMEDY}"
        )
    made.set_weights(weights)
