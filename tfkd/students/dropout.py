"""Students without dropout."""

import keras
from keras import layers

from tfkd.graphs import copy_weights

# Spatial dropout is a Dropout too.
DROPOUTS = (layers.Dropout, layers.AlphaDropout, layers.GaussianDropout)


def without_dropout(model: keras.Model) -> keras.Model:
    """The same network with rate 0 in all dropout layers.

    A student that is narrow, pruned or quantized fits its teacher too little rather than too much, and what
    it learns from has no noise to be guarded against.

    Args:
        model: a functional or built Sequential model, which stays as it is.

    Returns:
        A model of the same layers, names and weights; `model` itself if it has no dropout.

    Example:
        >>> student = tfkd.compression.prune(tfkd.students.without_dropout(model), 0.8)
    """
    if not any(isinstance(layer, DROPOUTS) and layer.rate for layer in model._flatten_layers()):
        return model

    def at_rate_0(layer):
        config = layer.get_config()
        if isinstance(layer, DROPOUTS):
            config["rate"] = 0.0
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=at_rate_0, recursive=True)
    copy_weights(model, copy)
    copy.name = model.name
    return copy
