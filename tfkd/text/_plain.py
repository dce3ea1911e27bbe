"""keras-hub transformers as graphs of Keras's own layers, which every tool supports."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tfkd._core.copies import remade
from tfkd._core.graphs import copy_weights, has_graph
from tfkd._core.keras_internals import (
    flatten_layers,
    is_keras_layer,
    mask_of,
    network_operations,
    numpy_operations,
    run_through_graph,
)
from tfkd._core.keras_versions import check_keras_model
from tfkd._core.token_marks import mark_tokenizer, tokenizer_of
from tfkd._core.trial_inputs import trial_inputs
from tfkd.tasks import mark, marked_task

_TOLERANCE = 1e-4
_TANH_GELU = "keras_hub>gelu_approximate"


def plain(model: keras.Model, name: str | None = None) -> keras.Model:
    """The same transformer as a flat functional model of Keras's own layers.

    Pruning, clustering, quantization-aware training and other tools that inspect a network support
    `MultiHeadAttention`, `Dense`, `LayerNormalization`, `Embedding` and `Add`, but not keras-hub's
    composite layers. Layers keep their paths in `model`, with `_` for `/`: for example,
    "bert_backbone/transformer_layer_2/feedforward_layer_norm" becomes
    "bert_backbone_transformer_layer_2_feedforward_layer_norm". Parts that no output needs are dropped.

    Args:
        model: a functional model with keras-hub encoders (BERT, RoBERTa, DistilBERT, ELECTRA and others
            made of `TransformerEncoder`), with or without a head, or a model of Keras's own layers; it is
            not changed.
        name: name of the new model; None for the model's name.

    Returns:
        A model with the same named inputs, outputs, task, tokenizer and weights (copies), which loads
        without keras-hub.

    Raises:
        TypeError: if `model` is not a Keras 3 model.
        ValueError: if its graph is unknown, it has a layer that is neither Keras's own nor a keras-hub
            encoder (the message names it), an encoder is called with more than a padding mask, or the
            rebuilt model computes something different.

    Example:
        >>> student = tfkd.text.plain(classifier)
        >>> pruned = tfkd.compression.prune(student, 0.5)
    """
    check_keras_model("model", model)
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {model.name!r} "
            f"({type(model).__name__}), whose layers are called by custom code. Rewrite it as a functional "
            "model of the same layers."
        )
    graph = getattr(model, "_functional", model)
    inputs = keras.tree.map_structure(_input_like, graph._inputs_struct)
    rebuilding = _Rebuilding()
    made = keras.Model(inputs, rebuilding.outputs(model, inputs, ""), name=name or model.name)
    rebuilding.copy_weights()
    _check_same_outputs(model, made)
    mark_tokenizer(made, tokenizer_of(model))
    task = marked_task(model)
    return made if task is None else mark(made, task)


class _Rebuilding:
    """The counterpart of each operation of a model, created once however often it is called."""

    def __init__(self) -> None:
        self._made: dict[int, Callable] = {}
        self._copied: list[tuple[keras.Layer, keras.Layer]] = []

    def outputs(self, model: keras.Model, inputs: Any, path: str) -> Any:
        """The output of a model's counterpart for symbolic inputs."""

        def counterpart(operation):
            if id(operation) not in self._made:
                self._made[id(operation)] = self._counterpart(operation, path + operation.name)
            return self._made[id(operation)]

        return run_through_graph(model, inputs, counterpart)

    def own(self, layer: keras.Layer, path: str, **options: Any) -> keras.Layer:
        """A copy of a Keras layer with another name or other options."""
        return self.following(layer, remade(layer, {**layer.get_config(), "name": _name(path), **options}))

    def following(self, source: keras.Layer, made: Any) -> Any:
        """Registers the layer `made` to receive the weights of another, and returns it."""
        self._copied.append((source, made))
        return made

    def copy_weights(self) -> None:
        """Copies the weights of the original layers to those that outputs need."""
        for source, made in self._copied:
            if made.built:
                copy_weights(source, made)

    def _counterpart(self, operation, path) -> Callable:
        if isinstance(operation, keras.Model) and has_graph(operation):
            return lambda inputs, **_: self.outputs(operation, _matching(operation, inputs), path + "/")
        expanded = _EXPANSIONS.get(keras.saving.get_registered_name(type(operation)))
        if expanded is not None:
            return expanded(self, operation, path)
        if not isinstance(operation, keras.Layer):
            return remade(operation, {**operation.get_config(), "name": _name(path)})
        if not is_keras_layer(operation):
            raise ValueError(
                f"Layer {path!r} ({type(operation).__name__}) is neither a Keras layer nor one of the "
                f"keras-hub layers that can be rebuilt from them: {', '.join(_known())}. Use the part of "
                "the model without it, or replace it with Keras layers."
            )
        return self.own(operation, path)


def _matching(model, inputs):
    """The inputs that a nested model uses: dictionaries may contain more."""
    taken = getattr(model, "_functional", model)._inputs_struct
    return {key: inputs[key] for key in taken} if isinstance(taken, dict) else inputs


def _parts(layer):
    """The sublayers of a layer, by name."""
    return {part.name: part for part in flatten_layers(layer, include_self=False, recursive=False)}


def _encoder(rebuilding: _Rebuilding, encoder: keras.Layer, path: str) -> Callable:
    """A `TransformerEncoder`."""

    def own(part):
        return _dense(rebuilding, part, f"{path}/{part.name}")

    part = {name: own(each) for name, each in _parts(encoder).items()}
    # Every query may attend to the same keys.
    mask_of_queries = layers.Reshape((1, -1), name=_name(f"{path}/attention_mask"), dtype="int32")
    added = {
        half: layers.Add(name=_name(f"{path}/{half}_add"), dtype=encoder.dtype_policy)
        for half in ("self_attention", "feedforward")
    }
    normalize_first = encoder.get_config()["normalize_first"]

    def attend(x, padding_mask):
        seen = {} if padding_mask is None else {"attention_mask": mask_of_queries(padding_mask)}
        return part["self_attention_dropout"](part["self_attention_layer"](x, x, **seen))

    def feed_forward(x):
        x = part["feedforward_output_dense"](part["feedforward_intermediate_dense"](x))
        return part["feedforward_dropout"](x)

    def residual(x, half, compute):
        normalize = part[f"{half}_layer_norm"]
        if normalize_first:
            return added[half]([x, compute(normalize(x))])
        return normalize(added[half]([x, compute(x)]))

    def call(x, padding_mask=None, **options):
        _check_call(path, "TransformerEncoder", options)
        if padding_mask is None and mask_of(x) is not None:
            raise ValueError(
                f"Layer {path!r} (TransformerEncoder) uses the mask of an earlier layer, which Keras's own "
                "layers do not pass on. Call it with `padding_mask`."
            )
        x = residual(x, "self_attention", lambda x: attend(x, padding_mask))
        return residual(x, "feedforward", feed_forward)

    return call


def _dense(rebuilding: _Rebuilding, layer: keras.Layer, path: str) -> Callable:
    """A Keras layer; tanh GELU, which is not a Keras activation name, becomes a separate operation."""
    activation = getattr(layer, "activation", None)
    if activation is None or keras.saving.get_registered_name(activation) != _TANH_GELU:
        return rebuilding.own(layer, path)
    linear = rebuilding.own(layer, path, activation=None)
    gelu = network_operations.Gelu(approximate=True, name=_name(f"{path}/gelu"))
    return lambda x: gelu(linear(x))


def _tokens_and_positions(rebuilding: _Rebuilding, embedding: keras.Layer, path: str) -> Callable:
    """A `TokenAndPositionEmbedding`."""
    part = _parts(embedding)
    tokens = _tokens(rebuilding, part["token_embedding"], f"{path}/token_embedding")
    positions = _positions(rebuilding, part["position_embedding"], f"{path}/position_embedding")
    added = layers.Add(name=_name(f"{path}/add"), dtype=embedding.dtype_policy)

    def call(token_ids, **options):
        _check_call(path, "TokenAndPositionEmbedding", options)
        embedded = tokens(token_ids)
        return added([embedded, positions(embedded)])

    return call


def _tokens(rebuilding: _Rebuilding, embedding: keras.Layer, path: str) -> Callable:
    """A `ReversibleEmbedding` in the forward direction."""
    options = ("input_dim", "output_dim", "mask_zero", "trainable", "dtype")
    config = {key: value for key, value in embedding.get_config().items() if key in options}
    forward = rebuilding.following(embedding, layers.Embedding(**config, name=_name(path)))

    def call(inputs, reverse=False, **_):
        if reverse:
            raise ValueError(
                f"Layer {path!r} ({type(embedding).__name__}) is also called in reverse, to compute token "
                "scores, which Keras's Embedding cannot do. Use the model without its language modelling "
                "head."
            )
        return forward(inputs)

    return call


def _positions(rebuilding: _Rebuilding, embedding: keras.Layer, path: str) -> Callable:
    """A `PositionEmbedding`, as an `Embedding` of the numbers 0, 1, 2..."""
    length, width = embedding.weights[0].shape
    options = {"trainable": embedding.trainable, "dtype": embedding.dtype_policy, "name": _name(path)}
    numbered = rebuilding.following(embedding, layers.Embedding(length, width, **options))
    # Keras has no range operation for an unknown length.
    first_of_each = numpy_operations.GetItem(name=_name(f"{path}/tokens"))
    ones = numpy_operations.OnesLike(dtype="int32", name=_name(f"{path}/ones"))
    counted = numpy_operations.Cumsum(axis=1, name=_name(f"{path}/count"))
    from_zero = numpy_operations.Subtract(name=_name(f"{path}/from_zero"))

    def call(inputs, **options):
        _check_call(path, "PositionEmbedding", options)
        return numbered(from_zero(counted(ones(first_of_each(inputs, (..., 0)))), 1))

    return call


def _pooling(rebuilding: _Rebuilding, pooling: keras.Layer, path: str) -> Callable:
    """A `TokenPooling`; the mean over no real tokens is NaN."""
    if pooling.get_config()["pooling"] == "first":
        first = numpy_operations.GetItem(name=_name(path))
        return lambda inputs, padding_mask: first(inputs, (slice(None), 0))
    mean = layers.GlobalAveragePooling1D(name=_name(path), dtype=pooling.dtype_policy)
    return lambda inputs, padding_mask: mean(inputs, mask=padding_mask)


# Rebuilding functions of composite layers.
_EXPANSIONS: dict[str, Callable[[_Rebuilding, Any, str], Callable]] = {
    "keras_hub>TransformerEncoder": _encoder,
    "keras_hub>TokenAndPositionEmbedding": _tokens_and_positions,
    "keras_hub>PositionEmbedding": _positions,
    "keras_hub>ReversibleEmbedding": _tokens,
    "ReversibleEmbedding": _tokens,
    "tfkd>TokenPooling": _pooling,
}


def _known():
    return sorted({key.rpartition(">")[2] for key in _EXPANSIONS})


def _check_call(path, kind, options):
    """Rejects calls with options that change what a layer computes."""
    options = {key: value for key, value in options.items() if key != "training"}
    if more := [
        key for key, value in options.items() if value is not None and value is not False and value != 0
    ]:
        raise ValueError(
            f"Layer {path!r} ({kind}) is called with {' and '.join(more)}, which cannot be rebuilt from "
            "Keras's own layers. Call it without."
        )


def _name(path):
    return path.replace("/", "_")


def _input_like(tensor):
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _check_same_outputs(model, made):
    """Rejects a rebuilt model that computes something different."""
    inputs = trial_inputs(made)
    expected, found = (
        [np.asarray(ops.cast(each, "float32")) for each in keras.tree.flatten(net(inputs, training=False))]
        for net in (model, made)
    )
    for one, other in zip(expected, found, strict=True):
        difference = np.abs(one - other).max()
        if not difference <= _TOLERANCE * max(1.0, np.abs(one).max()):
            raise ValueError(
                f"`model`: {model.name!r}, rebuilt from Keras's own layers, computes something different: "
                f"outputs differ by up to {difference:.2g}. One of its layers is not what its class name "
                "says."
            )
