"""What a student is made of: tf_keras models for tfmot, pruning, quantization, clustering."""

from tfkd.compression.bridged import BridgedModel
from tfkd.compression.modernizing import from_tf_keras
from tfkd.compression.rebuilding import to_tf_keras

__all__ = ["BridgedModel", "from_tf_keras", "to_tf_keras"]
