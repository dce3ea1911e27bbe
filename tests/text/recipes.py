"""All recipes of text: a new one is a line here, and what must hold for all of them is tested of it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tests.text import small_models as models
from tfkd import tasks, text


def _classes(inputs):
    return (inputs["token_ids"][:, 1] % models.CLASSES).astype("int32")


def _masked(inputs):
    """The first word of each sentence."""
    labels = np.full_like(inputs["token_ids"], -100)
    labels[:, 1] = inputs["token_ids"][:, 1]
    return labels


def _next(inputs):
    return tasks.next_tokens(**inputs)


def _none(inputs):
    return None


@dataclasses.dataclass(frozen=True)
class Case:
    """How a recipe is tested.

    Args:
        recipe: its class.
        teacher: makes a small one.
        published: the values of the authors, by option.
        small: options for that teacher.
        labels: makes labels of inputs.
        wrong: options out of range, one at a time.
        attention: whether teachers must have attention.
        layers: whether the student has layers of its teacher.
    """

    recipe: type[text.TextRecipe]
    teacher: Callable[[], keras.Model]
    published: Mapping[str, Any]
    small: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: Callable[[dict], Any] = _none
    wrong: tuple[tuple[str, Any], ...] = ()
    attention: bool = True
    layers: bool = True


_DISTILBERT = {
    "soft_weight": 5.0,
    "labels_weight": 2.0,
    "cosine_weight": 1.0,
    "temperature": 2.0,
    "train_positions": False,
    "warmup": 0.05,
    "weight_decay": 0.0,
    "epochs": 3,
}
_TINYBERT = {
    "layers": 4,
    "hidden_dim": 312,
    "epochs": 20,
    "learning_rate": 5e-5,
    "prediction_epochs": 3,
    "prediction_learning_rate": 3e-5,
    "general_epochs": 3,
    "general_learning_rate": 1e-4,
    "copies": 20,
    "replace": 0.4,
    "candidates": 15,
    "batch_size": 32,
}
_TINY = {"layers": 1, "hidden_dim": 8, "prediction_epochs": 1, "general_epochs": 2}
_BILSTM = {
    "hidden": 150,
    "dense": 200,
    "learning_rate": 1.0,
    "batch_size": 50,
    "mask": 0.1,
    "same_tag": 0.1,
    "ngram": 0.25,
    "copies": 20,
    "train_embeddings": False,
}

RECIPES = {
    "distilbert": Case(
        text.DistilBERT,
        models.bert_masked,
        _DISTILBERT,
        labels=_masked,
        wrong=(("soft_weight", -1.0), ("temperature", 0.0), ("epochs", 0), ("warmup", 1.0)),
    ),
    "distilbert of a classifier": Case(
        text.DistilBERT, models.bert_classifier, _DISTILBERT, {"hidden_dim": 8}, _classes
    ),
    "distilgpt2": Case(
        text.DistilGPT2,
        models.gpt2_causal,
        {"soft_weight": 0.5, "labels_weight": 0.5, "cosine_weight": 0.0, "temperature": 2.0},
        labels=_next,
        wrong=(("labels_weight", -0.5),),
    ),
    "tinybert": Case(
        text.TinyBERT,
        models.bert_classifier,
        _TINYBERT,
        _TINY,
        _classes,
        wrong=(("stage", "both"), ("prediction_epochs", 0), ("replace", 0.0), ("layers", 0)),
    ),
    "tinybert in general": Case(
        text.TinyBERT, models.bert_encoder, _TINYBERT, {**_TINY, "stage": "general"}
    ),
    "minilm": Case(text.MiniLM, models.bert_encoder, {"warmup": 0.01}, wrong=(("learning_rate", 0.0),)),
    "minilm with an assistant": Case(
        text.MiniLM, models.bert_encoder, {"assistant": None}, {"layers": 1, "hidden_dim": 8}
    ),
    "minilm_v2": Case(
        text.MiniLMv2,
        models.bert_encoder,
        {"relation_heads": None, "teacher_layer": None},
        {"relation_heads": 4, "hidden_dim": 8},
        wrong=(("relation_heads", 0), ("teacher_layer", -1)),
    ),
    "bert_to_bilstm": Case(
        text.BERTToBiLSTM,
        models.bert_classifier,
        _BILSTM,
        {"hidden": 6, "dense": 6, "batch_size": 16},
        _classes,
        wrong=(("mask", 1.5), ("hidden", 0), ("warmup", 0.2)),
        attention=False,
        layers=False,
    ),
    "patient_kd": Case(
        text.PatientKD,
        lambda: models.bert_classifier(layers=3),
        {"alpha": 0.5, "beta": 100.0, "temperature": 10.0, "strategy": "skip", "epochs": 4},
        {"layers": 2},
        _classes,
        wrong=(("alpha", 1.0), ("strategy", "first"), ("beta", -1.0)),
    ),
    "embedding_distillation": Case(
        text.EmbeddingDistillation,
        models.bert_encoder,
        {"mse_weight": 0.0, "cosine_weight": 1.0, "relational_weight": 0.0, "learning_rate": 1e-4},
        {"hidden_dim": 8, "relational_weight": 1.0, "hidden_weight": 1.0, "learning_rate": 1e-3},
        wrong=(("network", "gru"), ("hidden", 10)),
    ),
    "embedding_distillation to a bilstm": Case(
        text.EmbeddingDistillation,
        models.bert_encoder,
        {},
        {"network": "bilstm", "hidden": 6, "cosine_weight": 1.0, "learning_rate": 1e-2},
        wrong=(("layers", 2),),
        attention=False,
        layers=False,
    ),
}
