"""Reads the values of inner layers, and finds the ends of blocks and stages."""

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
