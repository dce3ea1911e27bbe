"""Imports tensorflow-model-optimization without changing what `tf.keras` is."""

import contextlib
import os
from types import ModuleType
from typing import Any

import tensorflow as tf

from tfkd.compression._pruning_schedule import OverFit

_VARIABLE = "TF_USE_LEGACY_KERAS"


def load() -> ModuleType:
    """Imports the package on first use.

    Its import sets an environment variable that determines what `tf.keras` is on first access, in this
    process and in its child processes.

    Raises:
        ImportError: if it is not installed.
    """
    # Access `tf.keras` before the import, so that it does not change.
    _ = tf.keras.__version__
    before = os.environ.get(_VARIABLE)
    try:
        import tensorflow_model_optimization
    finally:
        os.environ.pop(_VARIABLE, None)
        if before is not None:
            os.environ[_VARIABLE] = before
    _know_recurrent_cells()
    return tensorflow_model_optimization


def _know_recurrent_cells():
    """Registers tf_keras's recurrent cells, and bidirectional layers, with tfmot's pruning.

    tfmot lists cells of `tf.compat`, which may be Keras 3's by then.
    """
    from tensorflow_model_optimization.python.core.sparsity.keras.prune_registry import PruneRegistry
    from tf_keras import layers

    for cell in (layers.GRUCell, layers.LSTMCell, layers.SimpleRNNCell):
        PruneRegistry._RNN_CELLS_WEIGHTS_MAP.setdefault(cell, ["kernel", "recurrent_kernel"])
    if layers.Bidirectional in PruneRegistry._RNN_LAYERS:
        return
    cells_of_one = PruneRegistry._get_rnn_cells

    def cells(layer):
        if not isinstance(layer, layers.Bidirectional):
            return cells_of_one(layer)
        return [cell for half in (layer.forward_layer, layer.backward_layer) for cell in cells_of_one(half)]

    PruneRegistry._RNN_LAYERS |= {layers.Bidirectional}
    PruneRegistry._get_rnn_cells = staticmethod(cells)


def scopes() -> contextlib.ExitStack:
    """A context in which tf_keras can deserialize all layers of tfmot."""
    import tf_keras

    from tfkd.compression._dot_product import DotProductOfHeads

    tfmot = load()
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import (
        ClusterWeightsRNN,
    )

    stack = contextlib.ExitStack()
    stack.enter_context(tfmot.sparsity.keras.prune_scope())
    stack.enter_context(tfmot.quantization.keras.quantize_scope())
    stack.enter_context(tfmot.clustering.keras.cluster_scope())
    # The last one is missing from tfmot's own scope.
    more = {each.__name__: each for each in (OverFit, DotProductOfHeads, ClusterWeightsRNN)}
    stack.enter_context(tf_keras.utils.custom_object_scope(more))
    return stack


def unwrapped(layer: Any) -> Any:
    """The layer inside a wrapper of tfmot; any other layer, such as a `Bidirectional`, unchanged.

    Args:
        layer: a tf_keras layer.
    """
    of_tfmot = ("pruning_vars", "cluster_centroids", "quantize_config")
    return layer.layer if any(hasattr(layer, mark) for mark in of_tfmot) else layer
