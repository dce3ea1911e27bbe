"""Transformers: loading, tokens, students, recipes."""

from tfkd._core.token_marks import mark_tokenizer, tokenizer_of
from tfkd.schemes._epoch_data import EpochSeed
from tfkd.text._batches import batches
from tfkd.text._bert_to_bilstm import BERTToBiLSTM
from tfkd.text._bilstm import bilstm_classifier
from tfkd.text._classifier import classifier
from tfkd.text._distilbert import DistilBERT
from tfkd.text._distilgpt2 import DistilGPT2
from tfkd.text._embedding_distillation import EmbeddingDistillation
from tfkd.text._exact_gelu import exact_gelu
from tfkd.text._generated_text import GeneratedText
from tfkd.text._language_models import TokenBias, causal_language_model, masked_language_model
from tfkd.text._linear_decay import LinearDecay
from tfkd.text._loading import Loaded, load
from tfkd.text._masking import mask_tokens
from tfkd.text._minilm import MiniLM
from tfkd.text._minilm_v2 import MiniLMv2
from tfkd.text._on_policy import OnPolicyDistiller
from tfkd.text._patient_kd import PatientKD
from tfkd.text._plain import plain
from tfkd.text._pooling import TokenPooling
from tfkd.text._predicted_words import augment_by_predictions
from tfkd.text._recipe import TextRecipe
from tfkd.text._sampling import Sampled, sample
from tfkd.text._sentence_encoder import sentence_encoder
from tfkd.text._sentences import Sentences
from tfkd.text._tinybert import TinyBERT
from tfkd.text._tokenizer import Tokenizer
from tfkd.text._word_augmentation import augment_words

__all__ = [
    "BERTToBiLSTM",
    "DistilBERT",
    "DistilGPT2",
    "EmbeddingDistillation",
    "EpochSeed",
    "GeneratedText",
    "LinearDecay",
    "Loaded",
    "MiniLM",
    "MiniLMv2",
    "OnPolicyDistiller",
    "PatientKD",
    "Sampled",
    "Sentences",
    "TextRecipe",
    "TinyBERT",
    "TokenBias",
    "TokenPooling",
    "Tokenizer",
    "augment_by_predictions",
    "augment_words",
    "batches",
    "bilstm_classifier",
    "causal_language_model",
    "classifier",
    "exact_gelu",
    "load",
    "mark_tokenizer",
    "mask_tokens",
    "masked_language_model",
    "plain",
    "sample",
    "sentence_encoder",
    "tokenizer_of",
]
