"""Tasks of networks: classes, labels, numbers, maps, tokens or vectors; one file per task."""

from tfkd.tasks._causal_language_model import CausalLanguageModel, next_tokens
from tfkd.tasks._classification import Classification
from tfkd.tasks._language_model import LanguageModel, Perplexity, TokenAccuracy
from tfkd.tasks._masked_language_model import MaskedLanguageModel
from tfkd.tasks._multi_label import MultiLabel
from tfkd.tasks._regression import Regression
from tfkd.tasks._segmentation import Segmentation
from tfkd.tasks._sentence_embedding import SentenceEmbedding
from tfkd.tasks._task import ClassTask, Task
from tfkd.tasks._text_classification import TextClassification

# After the tasks, which it looks up by name.
from tfkd.tasks._finding import as_task, known_tasks, mark, marked_task, output_shape_of, task_of  # isort: skip
from tfkd.tasks._reading import Reading, reading_of  # isort: skip

__all__ = [
    "CausalLanguageModel",
    "ClassTask",
    "Classification",
    "LanguageModel",
    "MaskedLanguageModel",
    "MultiLabel",
    "Perplexity",
    "Reading",
    "Regression",
    "Segmentation",
    "SentenceEmbedding",
    "Task",
    "TextClassification",
    "TokenAccuracy",
    "as_task",
    "known_tasks",
    "mark",
    "marked_task",
    "next_tokens",
    "output_shape_of",
    "reading_of",
    "task_of",
]
