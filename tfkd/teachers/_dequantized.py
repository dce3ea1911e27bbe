"""Converting networks from `model.quantize("int8")` back to float layers."""

import keras
from keras import layers

from tfkd._core.copies import cloned_model, remade
from tfkd._core.graphs import copy_weights, has_graph
from tfkd._core.keras_internals import flatten_layers


def dequantized(model: keras.Model) -> keras.Model:
    """The network with its int8 Dense layers converted back to float.

    Their kernels keep the rounded values. Int8 layers cannot be trained or thinned. The dynamic rounding of
    their inputs is dropped.

    Args:
        model: a network; a subclassed one, or one without such layers, is returned unchanged.

    Returns:
        A new network if there are such layers.
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
