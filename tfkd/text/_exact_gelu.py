"""BERT with the exact GELU it was trained with."""

import functools
from typing import Any

import keras
from typing_extensions import Self

from tfkd._core import extras
from tfkd._core.keras_internals import flatten_layers


@keras.saving.register_keras_serializable(package="tfkd")
class ExactGELU:
    """Mixin for keras-hub backbones whose files and configs keep an exact GELU."""

    hub_class = ""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hub_class": self.hub_class}  # pyright: ignore

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        # All are registered under one name, so this class may belong to another backbone.
        config = dict(config)
        hub = extras.require("keras_hub", "text", "A text model")
        named = getattr(hub.models, config.pop("hub_class"), None)
        # The file is untrusted.
        if not (isinstance(named, type) and issubclass(named, hub.models.Backbone)):
            raise ValueError(f"`hub_class` must be a backbone of keras_hub.models. Received: {named!r}.")
        return _exact(named, config)


def exact_gelu(backbone: keras.Model) -> keras.Model:
    """A keras-hub backbone with the exact GELU, x times the normal CDF of x.

    keras-hub's BERT, ALBERT and GPT-2 use the tanh approximation. BERT was trained with the exact GELU
    (`"hidden_act": "gelu"`); without it, hidden states are off by up to 0.01. Saved files, configs and
    clones keep it.

    Args:
        backbone: a keras-hub backbone; it is not changed.

    Returns:
        A backbone of the same kind with the same weights; `backbone` itself if its GELU is exact.

    Raises:
        ValueError: if the model is not a backbone with GELU.

    Example:
        >>> backbone = tfkd.text.exact_gelu(keras_hub.models.BertBackbone.from_preset("bert_base_en"))

    Reference:
        Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
    """
    hub = extras.require("keras_hub", "text", "A text model")
    if not isinstance(backbone, hub.models.Backbone):
        raise ValueError(
            f"`backbone` must be a keras-hub backbone. Received: {getattr(backbone, 'name', backbone)!r} "
            f"({type(backbone).__name__}). In your own model, activation='gelu' is already exact."
        )
    if not approximate_blocks(backbone):
        if not any(getattr(each, "activation", None) is keras.activations.gelu for each in backbone.layers):
            raise ValueError(
                f"`backbone` has no approximate GELU to replace. Received: {type(backbone).__name__}."
            )
        return backbone
    exact = _exact(type(backbone), backbone.get_config())
    exact.set_weights(backbone.get_weights())
    return exact


def approximate_blocks(backbone: Any) -> list:
    """The blocks of a backbone with an approximate GELU."""
    return [
        layer
        for layer in flatten_layers(backbone)
        if hasattr(layer, "_feedforward_intermediate_dense")
        and getattr(layer.activation, "__name__", None) == "gelu_approximate"
    ]


def _exact(hub_class, config):
    if isinstance(config.get("dtype"), dict):
        config = {**config, "dtype": keras.dtype_policies.get(config["dtype"])}
    backbone = _class_for(hub_class)(**config)
    for block in approximate_blocks(backbone):
        block.activation = keras.activations.gelu
        block._feedforward_intermediate_dense.activation = keras.activations.gelu
    return backbone


@functools.cache
def _class_for(hub_class):
    own = type(
        "ExactGELU", (ExactGELU, hub_class), {"hub_class": hub_class.__name__, "__module__": __name__}
    )
    return keras.saving.register_keras_serializable(package="tfkd")(own)
