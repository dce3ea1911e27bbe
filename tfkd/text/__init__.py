"""Transformers: loading, tokens, students, recipes."""

from tfkd.text._bert_to_bilstm import BERTToBiLSTM
from tfkd.text._distilbert import DistilBERT
from tfkd.text._distilgpt2 import DistilGPT2
from tfkd.text._embedding_distillation import EmbeddingDistillation
from tfkd.text._linear_decay import LinearDecay
from tfkd.text._masking import TokenMasking, mask_tokens
from tfkd.text._minilm import MiniLM
from tfkd.text._minilm_v2 import MiniLMv2
from tfkd.text._on_policy import OnPolicyDistiller
from tfkd.text._patient_kd import PatientKD
from tfkd.text._predicted_words import augment_by_predictions
from tfkd.text._recipe import TextRecipe
from tfkd.text._sentences import Sentences
from tfkd.text._tinybert import TinyBERT
from tfkd.text._word_augmentation import augment_words

__all__ = [
    "BERTToBiLSTM",
    "DistilBERT",
    "DistilGPT2",
    "EmbeddingDistillation",
    "LinearDecay",
    "MiniLM",
    "MiniLMv2",
    "OnPolicyDistiller",
    "PatientKD",
    "Sentences",
    "TextRecipe",
    "TinyBERT",
    "TokenMasking",
    "augment_by_predictions",
    "augment_words",
    "mask_tokens",
]
