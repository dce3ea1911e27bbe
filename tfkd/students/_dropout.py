"""Students without dropout."""

from typing import Any

import keras
from keras import layers

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_weights, has_graph
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.keras_versions import check_keras_3

# Spatial dropout is also a Dropout.
DROPOUTS = (layers.Dropout, layers.AlphaDropout, layers.GaussianDropout)
# Names of the dropout rates of recurrent and attention layers.
_RATES = ("dropout", "recurrent_dropout")


def without_dropout(model: keras.Model) -> keras.Model:
    """The same network with all dropout rates 0, including recurrent and attention layers.

    A narrow, pruned or quantized student tends to underfit its teacher rather than overfit it, and its
    targets have no label noise.

    Args:
        model: a functional or built Sequential model; it is not changed.

    Returns:
        A model with the same layers, names and weights; `model` itself if it has no dropout.

    Raises:
        ValueError: if a model that is neither functional nor Sequential has dropout.

    Example:
        >>> student = tfkd.compression.prune(tfkd.students.without_dropout(model), 0.8)
    """
    check_keras_3("model", model)
    parts = [layer for layer in flatten_layers(model) if not isinstance(layer, keras.Model)]
    if not any(_has_rates(layer) for layer in parts):
        return model
    if not has_graph(model):
        raise ValueError(
            f"`model` must be functional or a built Sequential model. Received: {model.name!r} "
            f"({type(model).__name__}), which has dropout. Set its rates to 0 where it is built."
        )

    def at_rate_0(layer):
        return remade(layer, config_without_dropout(layer, layer.get_config()))

    copy = cloned_model(model, clone_function=at_rate_0, recursive=True)
    copy_weights(model, copy)
    copy.name = model.name
    if not model.trainable:
        copy.trainable = False
    return copy


def config_without_dropout(layer: keras.Layer, config: dict) -> dict:
    """A layer's config with all dropout rates 0, including nested layers.

    Args:
        layer: the layer.
        config: its config, possibly modified.
    """
    changed = _at_rate_0({"class_name": type(layer).__name__, "config": config})["config"]
    # Subclasses of Keras's layers are not identified by class name.
    return {**changed, "rate": 0.0} if isinstance(layer, DROPOUTS) else changed


def _has_rates(layer):
    names = ("rate",) if isinstance(layer, DROPOUTS) else _RATES
    rates = (getattr(layer, name, 0) for name in names)
    return any(isinstance(rate, float) and rate > 0 for rate in rates)


def _at_rate_0(value: Any) -> Any:
    """A part of a config with all rates 0, including nested layers."""
    if isinstance(value, list):
        return [_at_rate_0(each) for each in value]
    if not isinstance(value, dict):
        return value
    changed: dict[str, Any] = {
        key: 0.0 if key in _RATES else _at_rate_0(each) for key, each in value.items()
    }
    if isinstance(value.get("config"), dict) and _is_dropout(value.get("class_name")):
        changed["config"]["rate"] = 0.0
    return changed


def _is_dropout(kind):
    layer_class = getattr(layers, str(kind), None)
    return isinstance(layer_class, type) and issubclass(layer_class, DROPOUTS)
