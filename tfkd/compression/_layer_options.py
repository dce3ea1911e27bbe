"""The options of layers in Keras 3 and tf_keras."""

import inspect

import keras
import numpy as np

# The Keras 3 names of renamed tf_keras options, by layer class.
NEW_NAMES = {
    "InputLayer": {"batch_input_shape": "batch_shape"},
    "LeakyReLU": {"alpha": "negative_slope"},
}

# The names of weights that inputs are multiplied with, in any layer.
_KERNELS = ("kernel", "embeddings")
# tfmot's names for weights from which it computes kernels, in clustered and quantized layers.
CENTROIDS, BEHIND_CLUSTERS = "cluster_centroids", "ori_weights_vars"


def is_kernel(weight: keras.Variable) -> bool:
    """Whether a weight is a kernel, to be pruned or clustered, rather than a bias, scale or statistic."""
    return weight.name.endswith(_KERNELS) or CENTROIDS in weight.name or BEHIND_CLUSTERS in weight.name


def options_of(layer_class: type) -> set[str]:
    """The arguments of a layer class, including those that it passes on to its base classes."""
    known = set()
    for constructor in (each.__init__ for each in layer_class.__mro__ if "__init__" in vars(each)):
        parameters = inspect.signature(constructor).parameters.values()
        known |= {parameter.name for parameter in parameters}
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return known


def adapted_options(layer: keras.Layer) -> dict:
    """The adapted statistics of a `Normalization` layer, as options; empty for other layers.

    tf_keras has an additional weight that counts examples, so the weights cannot be copied.
    """
    if not isinstance(layer, keras.layers.Normalization):
        return {}
    return {"mean": np.squeeze(layer.mean), "variance": np.squeeze(layer.variance)}
