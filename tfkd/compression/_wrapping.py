"""Wraps chosen layers of a Keras 3 model with tfmot, to make a Keras 3 student."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import tree

from tfkd._core import names
from tfkd._core.keras_internals import inbound_nodes
from tfkd.compression._bridged import BridgedModel
from tfkd.compression._to_tf_keras import to_tf_keras


def rebuilt(model: keras.Model) -> Any:
    """The model in tf_keras, flattened and split into layers that tfmot can wrap.

    Args:
        model: a Keras 3 model.

    Raises:
        TypeError: if it is not a Keras 3 model.
        ValueError: if the model is wrapped already, or cannot be rebuilt.
    """
    if isinstance(model, BridgedModel):
        raise ValueError(
            f"`model`: {model.name!r} is wrapped already. Call tfkd.compression.strip on it first; its "
            "zeros remain, and quantize_aware(..., preserve=...) can preserve them and clusters."
        )
    return to_tf_keras(model, flatten=True, separate=True)


def chosen_layers(
    inner: Any, layers: Iterable[str] | None, able: Callable[[Any], bool], purpose: str
) -> set[str]:
    """The names of the layers to wrap.

    Args:
        inner: a tf_keras model.
        layers: the names that the user passed, or None for all layers that can be wrapped.
        able: returns whether a layer can be wrapped.
        purpose: the purpose, for messages, such as "pruned".

    Returns:
        The names.

    Raises:
        TypeError: if a single name was passed instead of several.
        ValueError: if no layer has a given name, a layer cannot be wrapped, or none remains.
    """
    if isinstance(layers, str):
        raise TypeError(f"`layers` must be several names, such as [{layers!r}]. Received: {layers!r}.")
    known = {layer.name: layer for layer in inner.layers}
    chosen = (
        [layer for layer in inner.layers if able(layer)]
        if layers is None
        else [names.lookup(known, name, "layer of `layers`") for name in layers]
    )
    if unable := [f"{layer.name} ({type(layer).__name__})" for layer in chosen if not able(layer)]:
        raise ValueError(f"`layers`: these cannot be {purpose}: {', '.join(unable)}. Leave them out.")
    if not chosen:
        raise ValueError(f"`model`: {inner.name!r} has no layer that can be {purpose}.")
    return {layer.name for layer in chosen}


def _has_masks(layer):
    """Whether a layer takes or returns tensors with masks."""
    tensors = tree.flatten([[node.keras_inputs, node.outputs] for node in inbound_nodes(layer)])
    return any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors)


def wrap_layers(inner: Any, chosen: set[str], wrap: Callable[[Any], Any]) -> Any:
    """The model with some layers wrapped; weights are shared.

    Args:
        inner: a tf_keras model.
        chosen: the names of the layers to wrap.
        wrap: a function from a layer to its wrapper.

    Returns:
        A tf_keras model.

    Raises:
        ValueError: if one of the layers takes or returns tensors with masks.
    """
    import tf_keras

    if masked := [layer.name for layer in inner.layers if layer.name in chosen and _has_masks(layer)]:
        raise ValueError(
            f"`layers`: these take or make masks, which tfmot's wrappers lose: {', '.join(masked)}. Name "
            "others, or build the model without `mask_zero` and Masking."
        )
    return tf_keras.models.clone_model(
        inner, clone_function=lambda layer: wrap(layer) if layer.name in chosen else layer
    )
