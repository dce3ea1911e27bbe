"""What a student is made of: pruned, clustered and quantization-aware models of tfmot under Keras 3."""

from tfkd.compression.bridged import BridgedModel
from tfkd.compression.calibration import calibrate, is_quantization_aware
from tfkd.compression.clustering import cluster
from tfkd.compression.distribution import spread
from tfkd.compression.iterative import iterative_pruning
from tfkd.compression.masking import magnitude_masks, masked
from tfkd.compression.modernizing import from_tf_keras
from tfkd.compression.pruning import prune
from tfkd.compression.quantizing import float_layers, quantize_aware
from tfkd.compression.rebuilding import to_tf_keras
from tfkd.compression.sparse import sparsity
from tfkd.compression.stripping import strip

__all__ = [
    "BridgedModel",
    "calibrate",
    "cluster",
    "float_layers",
    "from_tf_keras",
    "is_quantization_aware",
    "iterative_pruning",
    "magnitude_masks",
    "masked",
    "prune",
    "quantize_aware",
    "sparsity",
    "spread",
    "strip",
    "to_tf_keras",
]
