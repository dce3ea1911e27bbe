"""Students whose kernels have few distinct values."""

import numbers
from collections.abc import Iterable
from typing import Any

import keras

from tfkd._core.precision import in_float32
from tfkd.compression._bridged import BridgedModel
from tfkd.compression._sparse import check_zeros
from tfkd.compression._tfmot import load
from tfkd.compression._wrapping import chosen_layers, rebuilt, wrap_layers

INITIALIZATIONS = ("linear", "random", "density_based", "kmeans_plus_plus")


def cluster(
    model: keras.Model,
    clusters: int = 16,
    initialization: str = "kmeans_plus_plus",
    preserve_sparsity: bool = False,
    layers: Iterable[str] | None = None,
) -> BridgedModel:
    """Makes a student whose kernels have few distinct, learned values each, so that its file zips well.

    Args:
        model: a trained functional or built Sequential Keras 3 model, whose weights are clustered; it is
            not changed.
        clusters: the number of distinct values in a kernel, at least 2.
        initialization: how the initial values are chosen: "linear", "random", "density_based" or
            "kmeans_plus_plus".
        preserve_sparsity: whether weights that are 0 stay 0, with one of the values fixed at 0.
        layers: the names of the layers to cluster ("block/conv" in nested models); None for all that tfmot
            can cluster.

    Returns:
        A Keras 3 model to compile and train like any other.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a value is out of range, there are no zeros to preserve, a layer does not exist or
            cannot be clustered, or the model is subclassed, wrapped already or has layers without a
            counterpart in tf_keras.

    Example:
        >>> student = tfkd.compression.cluster(model, clusters=16)

    Reference:
        Han et al., "Deep Compression", 2016, as implemented by tfmot.
    """
    if isinstance(clusters, bool) or not isinstance(clusters, numbers.Integral):
        raise TypeError(f"`clusters` must be an integer. Received: {clusters!r}.")
    if clusters < 2:
        raise ValueError(f"`clusters` must be at least 2. Received: {clusters}.")
    if initialization not in INITIALIZATIONS:
        raise ValueError(
            f"`initialization` must be one of {', '.join(INITIALIZATIONS)}. Received: {initialization!r}."
        )
    if preserve_sparsity:
        check_zeros(model, "preserve_sparsity")
    load()
    # tfmot finds centroids only in float32.
    with in_float32(model) as model:
        return _clustered(model, clusters, initialization, preserve_sparsity, layers)


def _clustered(model, clusters, initialization, preserve_sparsity, layers):
    """The student of a float32 model."""
    # Clustering that preserves zeros is not part of tfmot's public API.
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_config import (
        CentroidInitialization,
    )
    from tensorflow_model_optimization.python.core.clustering.keras.experimental.cluster import (
        cluster_weights,
    )

    inner = rebuilt(model)
    chosen = chosen_layers(inner, layers, lambda layer: _clusterable(layer, clusters), "clustered")
    start = CentroidInitialization[initialization.upper()]
    inner = wrap_layers(
        inner,
        chosen,
        lambda layer: cluster_weights(layer, clusters, start, preserve_sparsity=preserve_sparsity),
    )
    return BridgedModel(inner, f"{model.name}_clustered", plain=model, zeros_stay=preserve_sparsity)


def _clusterable(layer: Any, clusters: int) -> bool:
    """Whether tfmot can cluster a layer, which needs at least as many weights as clusters."""
    from tensorflow_model_optimization.python.core.clustering.keras.clustering_registry import (
        ClusteringRegistry,
    )

    if not ClusteringRegistry.supports(layer) or not layer.weights:
        return False
    ClusteringRegistry.make_clusterable(layer)
    weights = layer.get_clusterable_weights()
    return bool(weights) and all(weight.shape.num_elements() >= clusters for _, weight in weights)
