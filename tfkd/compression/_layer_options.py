"""The options of layers, as Keras 3 and tf_keras know them."""

import inspect

import keras
import numpy as np

# What an option of tf_keras is called in Keras 3, by class of layer.
NEW_NAMES = {
    "InputLayer": {"batch_input_shape": "batch_shape"},
    "LeakyReLU": {"alpha": "negative_slope"},
}

# How the weights that are multiplied with are called, whatever layer has them.
_KERNELS = ("kernel", "embeddings")
# What tfmot calls weights that it computes kernels of, in clustered and quantized layers.
CENTROIDS, BEHIND_CLUSTERS = "cluster_centroids", "ori_weights_vars"


def is_kernel(weight: keras.Variable) -> bool:
    """Whether a weight is what pruning and clustering are about: no bias, no scale, no statistics."""
    return weight.name.endswith(_KERNELS) or CENTROIDS in weight.name or BEHIND_CLUSTERS in weight.name


def options_of(layer_class: type) -> set[str]:
    """The arguments of a layer's class, and of those it derives from as far as it passes them on."""
    known = set()
    for constructor in (each.__init__ for each in layer_class.__mro__ if "__init__" in vars(each)):
        parameters = inspect.signature(constructor).parameters.values()
        known |= {parameter.name for parameter in parameters}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return known


def adapted_options(layer: keras.Layer) -> dict:
    """What a `Normalization` layer was adapted to, as its own options; nothing of other layers.

    tf_keras counts examples in a weight of its own, so that these weights cannot be copied.
    """
    if not isinstance(layer, keras.layers.Normalization):
        return {}
    return {"mean": np.squeeze(layer.mean), "variance": np.squeeze(layer.variance)}
