"""Removes a network's final activation, so that it returns logits."""

import dataclasses

import keras
from keras import layers, ops

from tfkd._core.asking import answers
from tfkd._core.copies import remade
from tfkd._core.graphs import apply_layers, copy_weights, has_graph, operation_of, times_used
from tfkd._core.layouts import probes
from tfkd.tasks import _endings as endings
from tfkd.tasks import output_shape_of


@dataclasses.dataclass(frozen=True)
class Ending:
    """The final activation of a network.

    Attributes:
        activation: "softmax" or "sigmoid" if its outputs have one, "sign" if they come from a classifier
            with outputs of -1 and 1, otherwise None.
        operation: the layer or other operation that applies it; None if only the outputs show it.
    """

    activation: str | None = None
    operation: keras.Operation | None = None


def ending_of(model: keras.Model, from_logits: bool | None = None, usual: str | None = "softmax") -> Ending:
    """The final activation of a single-output network.

    Args:
        model: a built network.
        from_logits: whether its outputs are logits; None to detect it.
        usual: the assumed activation of outputs that are not logits; None for none.
    """
    if from_logits is True:
        return Ending()
    operation = endings.last_operation(model)

    def ask():
        return answers(model, probes(model)).astype("float32")

    activation = endings.activation_of_outputs(model, ask)
    if activation is None and from_logits is False:
        return Ending(endings.activation_seen(ask()) or usual)
    # An activation that is only inferred cannot be removed.
    return Ending(activation, operation if endings.shows_activation(operation) else None)


def apply_without(ending: Ending, model: keras.Model, x):
    """Applies a network without its final activation to a symbolic tensor.

    Args:
        ending: the activation to remove; nothing if its `activation` is None.
        model: the network, which is not changed.
        x: its input.

    Returns:
        The output before the activation, with the shape of the network's output.

    Raises:
        ValueError: if it ends in a sigmoid layer that is also used elsewhere.
    """
    operation, shape = ending.operation, output_shape_of(model)
    if ending.activation is None:
        x = _apply(model, x)
    elif operation is None or _is_shared(ending, model):
        x = _inverse(ending.activation, _apply(model, x))
    elif endings.is_activation_only(operation) and operation in model.operations:
        before = keras.Model(model.inputs, _input_of(operation, model), name=model.name)
        x = _apply(before, x)
    elif (linear := _without_activation(operation)) is not None:
        x = _apply(model, x, {operation: linear})
    else:
        # Inside a nested model, or a layer that cannot be rebuilt without its activation.
        x = _inverse(ending.activation, _apply(model, x))
    if len(shape) == 1 and len(x.shape) > 2:
        return layers.Flatten(name="logits_of_classes")(x)
    return x if tuple(x.shape[1:]) == shape else layers.Reshape(shape, name="logits_of_classes")(x)


def _is_shared(ending, model):
    """Whether a layer is also used elsewhere, where removing its activation would change results."""
    if times_used(model, ending.operation) == 1:
        return False
    if ending.activation == "sigmoid":
        raise ValueError(
            f"The teacher {model.name!r} ends in layer {ending.operation.name!r}, a sigmoid that is also "
            "used elsewhere. Build it with a separate last activation."
        )
    return True


def _input_of(operation, model):
    (tensor,) = model.outputs
    while True:
        maker, (tensor, *_) = operation_of(tensor)
        if maker is operation:
            return tensor


def _apply(model, x, replaced=None):
    """The network on `x`: copies of its layers where its graph is known, some replaced; else the whole as
    one layer."""
    if not has_graph(model):
        return model(x, training=False)
    replaced = replaced or {}

    def copied(layer):
        new = replaced[layer] if layer in replaced else _remade(layer)
        # A user-defined layer that cannot be made from its config is reused.
        return layer if new is None else new

    copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
    copy_weights(model, copy)
    return apply_layers(copy, x)


def _without_activation(operation):
    """A copy of a layer without its activation; None if it is only an activation."""
    if endings.is_activation_only(operation) or isinstance(operation, layers.Lambda):
        return None
    return _remade(operation, activation="linear")


def _remade(layer, **changes):
    """A copy of a layer; None for a user-defined one that cannot be made from its config."""
    try:
        return remade(layer, {**layer.get_config(), **changes})
    except Exception:
        # User-defined classes may raise anything.
        return None


def _inverse(activation, x):
    """The logits of probabilities; for a softmax, up to a constant."""
    p = ops.cast(x, "float32")
    if activation == "sign":
        p = (1.0 + p) / 2.0
    logits = ops.log(ops.clip(p, endings.SMALLEST, 1.0))
    if activation == "softmax":
        return logits
    return logits - ops.log(ops.clip(1.0 - p, endings.SMALLEST, 1.0))
