"""Model compression: pruned, clustered and quantization-aware models of tfmot under Keras 3."""

from tfkd._core.renames import renamed as _renamed
from tfkd.compression._bridged import BridgedModel
from tfkd.compression._calibration import calibrate, is_quantization_aware
from tfkd.compression._clustering import cluster
from tfkd.compression._distribution import allocate_sparsity
from tfkd.compression._equalizing import equalize_layers
from tfkd.compression._from_tf_keras import from_tf_keras
from tfkd.compression._iterative import iterative_pruning
from tfkd.compression._learn_rounding import learn_rounding
from tfkd.compression._masking import magnitude_masks, masked
from tfkd.compression._pruning import prune
from tfkd.compression._quantizing import float_layers, quantize_aware
from tfkd.compression._sparse import sparsity
from tfkd.compression._stripping import PruningWarning, strip
from tfkd.compression._to_tf_keras import to_tf_keras

__getattr__ = _renamed(__name__, {"spread": "allocate_sparsity"})

__all__ = [
    "BridgedModel",
    "PruningWarning",
    "allocate_sparsity",
    "calibrate",
    "cluster",
    "equalize_layers",
    "float_layers",
    "from_tf_keras",
    "is_quantization_aware",
    "iterative_pruning",
    "learn_rounding",
    "magnitude_masks",
    "masked",
    "prune",
    "quantize_aware",
    "sparsity",
    "strip",
    "to_tf_keras",
]
