"""Makes tfmot follow a quantization scheme where its model rewriting ignores it."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

_ROUNDED = ("Conv2D", "DepthwiseConv2D", "Dense")


def keep_to_scheme(scheme: Any) -> None:
    """Changes a scheme so that kernels are rounded regardless of the next layer.

    Before a `ReLU` layer, tfmot intends to skip the rounding between the two layers, but also skips that of
    the weights, so training does not see it. Layers before a `Concatenate` get the configurations of
    tfmot's default scheme. In both cases clusters to be preserved would be lost.

    Args:
        scheme: a `QuantizeScheme` of tfmot that is not used elsewhere.
    """
    layout = scheme.get_layout_transformer()
    scheme.get_layout_transformer = lambda: _Layout(layout)


def round_embeddings(scheme: Any) -> None:
    """Makes a scheme round embedding tables, which tfmot leaves in float, although TFLite supports them.

    Args:
        scheme: a default `QuantizeScheme` of tfmot that is not used elsewhere.
    """
    import tf_keras
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registries,
    )

    registry = scheme.get_quantize_registry()
    table = tf_keras.layers.Embedding
    registry._layer_quantize_map[table] = registries._QuantizeInfo(table, ["embeddings"], [])
    scheme.get_quantize_registry = lambda: registry


@contextlib.contextmanager
def whole_numbers_as_they_are() -> Iterator[None]:
    """Makes tfmot round only float inputs; otherwise it would also round token ids and integer pixels."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_transforms as transforms,
    )

    usual = transforms.InputLayerQuantize.replacement

    def replacement(transform, match_layer):
        kind = match_layer.layer["config"].get("dtype") or "float32"
        return usual(transform, match_layer) if kind.startswith(("float", "bfloat")) else match_layer

    with mock.patch.object(transforms.InputLayerQuantize, "replacement", replacement):
        yield


class _Layout:
    """A layout transformer whose result has weights rounded according to the scheme's registry.

    Args:
        layout: the layout transformer.
    """

    def __init__(self, layout: Any) -> None:
        self._layout = layout

    def apply(self, model, layer_quantize_map):
        """The rewritten model, and the quantization of each of its layers."""
        from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
            default_8bit_quantize_configs as configs,
        )
        from tensorflow_model_optimization.python.core.quantization.keras.quantize_aware_activation import (
            NoOpActivation,
        )

        model, layer_quantize_map = self._layout.apply(model, layer_quantize_map)
        for layer in model.layers:
            entry = layer_quantize_map.get(layer.name, {})
            config = entry.get("quantize_config")
            switched_off = (
                isinstance(config, configs.NoOpQuantizeConfig) and type(layer).__name__ in _ROUNDED
            )
            if switched_off and layer.activation.__name__ == "linear":
                layer.activation = NoOpActivation()
            if switched_off or getattr(config, "weight_attrs", ()):
                # tfmot then uses the scheme's registry, which rounds no outputs of layers with kernels.
                entry["quantize_config"] = None
        return model, layer_quantize_map
