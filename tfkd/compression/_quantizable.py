"""Which layers tfmot can quantize, and how the layers around them are treated."""

from typing import Any

from keras import tree

from tfkd._core.keras_internals import inbound_nodes
from tfkd.compression._tfmot import load, unwrapped

# Layers whose outputs tfmot's 8-bit scheme quantizes, like the converter.
_ACTIVATIONS = ("ReLU", "Activation", "LeakyReLU")
_FOLDING = ("Conv2D", "DepthwiseConv2D", "Dense")


def is_quantizable(layer: Any, registry: Any) -> bool:
    """Whether a registry of tfmot can quantize a tf_keras layer; normalization layers are folded instead.

    Args:
        layer: a built layer.
        registry: the layer registry of a `QuantizeScheme`.
    """
    if _kind(layer) == "InputLayer" or not registry.supports(layer) or _only_rounds(layer):
        return False
    try:
        config = registry.get_quantize_config(layer)
        config.get_output_quantizers(layer)
    except Exception:
        # It supports the layer class, but not this activation.
        return False
    if not getattr(layer, "weights", ()):
        return True
    load()
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_aware_activation import (
        QuantizeAwareActivation as Known,
    )

    known = Known._PRE_QUANT_ACTIVATIONS | Known._POST_QUANT_ACTIVATIONS
    activations = [activation for activation, _ in config.get_activations_and_quantizers(layer)]
    return all(getattr(activation, "__name__", "") in known for activation in activations)


def is_batch_norm(layer: Any) -> bool:
    """Whether a tf_keras layer is a batch normalization."""
    return _kind(layer) == "BatchNormalization"


def is_folded(layer: Any, chosen: set[str]) -> bool:
    """Whether a batch normalization becomes part of the quantized layer before it.

    Args:
        layer: a layer of a functional tf_keras model.
        chosen: the names of layers that will be quantized.
    """
    if not is_batch_norm(layer) or len(inbound_nodes(layer)) != 1:
        return False
    before = inbound_nodes(layer)[0].inbound_layers
    return (
        _kind(before) in _FOLDING
        and before.name in chosen
        and before.activation.__name__ == "linear"
        and len(before._outbound_nodes) == 1
    )


def feeds_quantized(layer: Any, chosen: set[str], registry: Any) -> bool:
    """Whether a layer stays in float, but its output needs a scale for a quantized layer.

    A directly following activation has its own scale.

    Args:
        layer: a layer of a functional tf_keras model.
        chosen: the names of layers that will be quantized.
        registry: the layer registry of a `QuantizeScheme`.
    """
    if layer.name in chosen or _kind(layer) == "InputLayer" or is_quantizable(layer, registry):
        return False
    if not _returns_floats(layer):
        return False
    after = [node.outbound_layer for node in layer._outbound_nodes]
    return any(each.name in chosen and _kind(each) not in _ACTIVATIONS for each in after)


def output_only() -> Any:
    """The quantization config of a layer that computes in float and rounds only its output."""
    return _output_kind()()


def in_float(layer: Any) -> bool:
    """Whether a layer of a quantized tf_keras model computes in float.

    Args:
        layer: a layer of the model.
    """
    if _kind(layer) in ("InputLayer", "QuantizeLayer", "SlicingOpLambda"):
        return False
    if _only_rounds(layer) or not _returns_floats(layer):
        return False
    if not hasattr(layer, "quantize_config"):
        return True
    return isinstance(layer.quantize_config, _output_kind()) and not _follows_quantized(layer)


def _follows_quantized(wrapper):
    """Whether a wrapper holds a normalization that will be folded; tfmot also rounds its output."""
    before = inbound_nodes(wrapper)[0].inbound_layers
    return is_batch_norm(wrapper.layer) and bool(getattr(before, "_weight_vars", ()))


def _only_rounds(layer):
    """Whether a layer, wrapped or not, only serves to round its output."""
    layer = unwrapped(layer)
    return _kind(layer) == "Activation" and layer.activation.__name__ == "linear"


def _returns_floats(layer):
    """Whether a layer returns only floats, which can be rounded, and no words, positions or masks."""
    return all(output.dtype.is_floating for output in tree.flatten(inbound_nodes(layer)[0].outputs))


def _kind(layer):
    return type(layer).__name__


def _output_kind():
    load()
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs as configs,
    )

    return configs.Default8BitOutputQuantizeConfig
