"""Has tfmot round the kernels of layers that a ReLU layer follows at once."""

from typing import Any

_ROUNDED = ("Conv2D", "DepthwiseConv2D", "Dense")


def round_before_relu(scheme: Any) -> None:
    """Changes a scheme so that weights before a `ReLU` layer are rounded, as if the two were one layer.

    tfmot means to leave out the rounding between the two, but leaves out that of the weights as well, so
    that nothing is learned of it, and clusters that should be preserved are lost.

    Args:
        scheme: a `QuantizeScheme` of tfmot that nobody else holds.
    """
    layout = scheme.get_layout_transformer()
    scheme.get_layout_transformer = lambda: _Layout(layout)


class _Layout:
    """What comes of a layout transformer, with weights rounded before a `ReLU`.

    Args:
        layout: the layout transformer.
    """

    def __init__(self, layout: Any) -> None:
        self._layout = layout

    def apply(self, model, layer_quantize_map):
        """The rewritten model, and how each of its layers is quantized."""
        from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
            default_8bit_quantize_configs as configs,
        )
        from tensorflow_model_optimization.python.core.quantization.keras.quantize_aware_activation import (
            NoOpActivation,
        )

        model, layer_quantize_map = self._layout.apply(model, layer_quantize_map)
        for layer in model.layers:
            entry = layer_quantize_map.get(layer.name, {})
            switched_off = isinstance(entry.get("quantize_config"), configs.NoOpQuantizeConfig)
            if switched_off and type(layer).__name__ in _ROUNDED:
                # What the scheme's registry has for this layer.
                entry["quantize_config"] = None
                if layer.activation.__name__ == "linear":
                    layer.activation = NoOpActivation()
        return model, layer_quantize_map
