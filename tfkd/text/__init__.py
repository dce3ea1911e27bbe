"""Transformers: loading, tokens, students, recipes."""

from tfkd._core.token_marks import mark_tokenizer, tokenizer_of
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.text._batches import batches
from tfkd.text._bilstm import bilstm_classifier
from tfkd.text._classifier import classifier
from tfkd.text._exact_gelu import exact_gelu
from tfkd.text._language_models import TokenBias, causal_language_model, masked_language_model
from tfkd.text._loading import Loaded, load
from tfkd.text._pooling import TokenPooling
from tfkd.text._sentence_encoder import sentence_encoder
from tfkd.text._tokenizer import Tokenizer

__all__ = [
    "EpochSeed",
    "Loaded",
    "TokenBias",
    "TokenPooling",
    "Tokenizer",
    "batches",
    "bilstm_classifier",
    "causal_language_model",
    "classifier",
    "exact_gelu",
    "load",
    "mark_tokenizer",
    "masked_language_model",
    "sentence_encoder",
    "tokenizer_of",
]
