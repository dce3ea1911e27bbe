"""Reads what flows through inner layers, and tells where the ends of blocks and stages are."""

from tfkd.taps._paths import INPUT_GRADIENT, attention_layers, named_layers, resolve
from tfkd.taps._record import Record, record
from tfkd.taps._shapes import penultimate, shape, shared_stages, stages
from tfkd.taps._transformers import TransformerTaps, transformer

__all__ = [
    "INPUT_GRADIENT",
    "Record",
    "TransformerTaps",
    "attention_layers",
    "named_layers",
    "penultimate",
    "record",
    "resolve",
    "shape",
    "shared_stages",
    "stages",
    "transformer",
]
