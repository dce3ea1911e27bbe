"""BERT with the GELU that it was trained with."""

import functools
from typing import Any

import keras
from typing_extensions import Self

from tfkd._core import extras
from tfkd._core.keras_internals import flatten_layers


@keras.saving.register_keras_serializable(package="tfkd")
class ExactGELU:
    """What keras-hub's backbones are given so that their files and configurations keep an exact GELU."""

    hub_class = ""

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hub_class": self.hub_class}  # pyright: ignore

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        # All of them are registered by one name, so that the class here may be that of another backbone.
        config = dict(config)
        hub = extras.require("keras_hub", "text", "A text model")
        named = getattr(hub.models, config.pop("hub_class"), None)
        # A file may name anything.
        if not (isinstance(named, type) and issubclass(named, hub.models.Backbone)):
            raise ValueError(f"`hub_class` must be a backbone of keras_hub.models. Received: {named!r}.")
        return _exact(named, config)


def exact_gelu(backbone: keras.Model) -> keras.Model:
    """A backbone of keras-hub with the exact GELU, x times the normal distribution's function of x.

    keras-hub's BERT, ALBERT and GPT-2 have the approximation by a hyperbolic tangent. BERT was trained
    with the exact one (`"hidden_act": "gelu"`), and its hidden states are off by up to 0.01 without it.
    Saved files, configurations and clones keep it.

    Args:
        backbone: a backbone of keras-hub; it stays as it is.

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
            "`backbone` must be a backbone of keras-hub. Received: "
            f"{getattr(backbone, 'name', backbone)!r} ({type(backbone).__name__}). In a model of your own, "
            "activation='gelu' is the exact one."
        )
    if not approximate_blocks(backbone):
        if not any(getattr(each, "activation", None) is keras.activations.gelu for each in backbone.layers):
            raise ValueError(
                f"`backbone` has no GELU that could be made exact. Received: {type(backbone).__name__}."
            )
        return backbone
    exact = _exact(type(backbone), backbone.get_config())
    exact.set_weights(backbone.get_weights())
    return exact


def approximate_blocks(backbone: Any) -> list:
    """The blocks of a backbone whose GELU is approximated."""
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
