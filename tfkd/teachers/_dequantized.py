"""Networks that `model.quantize("int8")` has rounded, with layers of floats."""

import keras
from keras import layers

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_weights, has_graph
from tfkd._core.keras_internals import flatten_layers


def dequantized(model: keras.Model) -> keras.Model:
    """The network with those Dense layers in floats that Keras has quantized to 8 bits.

    Their kernels are the rounded ones. Layers of 8 bits cannot learn or be made narrower, and what they
    round of their inputs as they run is not rounded any more.

    Args:
        model: a network; one that code calls, or without such layers, is returned as it is.

    Returns:
        A network of its own where there are such layers.
    """
    rounded = [layer for layer in flatten_layers(model) if _is_rounded(layer)]
    if not rounded or not has_graph(model):
        return model
    made = {}

    def floating(layer):
        config = layer.get_config()
        if _is_rounded(layer):
            # Such as "int8_from_float32".
            policy = layer.dtype_policy.name.rpartition("_from_")[2]
            config = {**config, "dtype": policy, "quantization_config": None}
        made[layer] = remade(layer, config)
        return made[layer]

    new = cloned_model(model, clone_function=floating, recursive=True)
    for layer, copy in made.items():
        if _is_rounded(layer):
            kernel = keras.ops.cast(layer.kernel, "float32") / layer.kernel_scale
            copy.set_weights([kernel, layer.bias] if layer.use_bias else [kernel])
        else:
            copy_weights(layer, copy)
    return new


def _is_rounded(layer):
    return isinstance(layer, layers.Dense) and layer.quantization_mode == "int8"
