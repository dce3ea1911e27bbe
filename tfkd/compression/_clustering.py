"""Students whose kernels have few different values."""

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
    """A student whose kernels take one of few values each, which it learns; its file zips well.

    Args:
        model: a functional or built Sequential Keras 3 model, trained, since its weights are what is
            clustered; it stays as it is.
        clusters: different values in a kernel, at least 2.
        initialization: how values are chosen at first: "linear", "random", "density_based" or
            "kmeans_plus_plus".
        preserve_sparsity: whether weights that are 0 stay 0 and one value is 0.
        layers: names ("block/conv" in nested models) of those to cluster; None for all that tfmot
            clusters.

    Returns:
        A Keras 3 model to be compiled and trained like any other.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: for values out of range, no zeros to keep, layers that do not exist or cannot be
            clustered, or a model that is subclassed, wrapped already or has layers without a counterpart in
            tf_keras.

    Example:
        >>> student = tfkd.compression.cluster(model, clusters=16)

    Reference:
        Han et al., "Deep Compression", 2016, as tfmot has it.
    """
    if isinstance(clusters, bool) or not isinstance(clusters, numbers.Integral):
        raise TypeError(f"`clusters` must be a whole number. Received: {clusters!r}.")
    if clusters < 2:
        raise ValueError(f"`clusters` must be at least 2. Received: {clusters}.")
    if initialization not in INITIALIZATIONS:
        raise ValueError(
            f"`initialization` must be one of {', '.join(INITIALIZATIONS)}. Received: {initialization!r}."
        )
    if preserve_sparsity:
        check_zeros(model, "preserve_sparsity")
    load()
    # tfmot finds centroids in float32 alone.
    with in_float32(model) as model:
        return _clustered(model, clusters, initialization, preserve_sparsity, layers)


def _clustered(model, clusters, initialization, preserve_sparsity, layers):
    """The student, of a model in float32."""
    # Clustering that keeps zeros is not in the package's public part.
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
    """Whether tfmot clusters a layer, which needs a weight for each value at least."""
    from tensorflow_model_optimization.python.core.clustering.keras.clustering_registry import (
        ClusteringRegistry,
    )

    if not ClusteringRegistry.supports(layer) or not layer.weights:
        return False
    ClusteringRegistry.make_clusterable(layer)
    weights = layer.get_clusterable_weights()
    return bool(weights) and all(weight.shape.num_elements() >= clusters for _, weight in weights)
