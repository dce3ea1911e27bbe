"""Language models: a token of the vocabulary at each position."""

from abc import abstractmethod
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfkd.losses import soft_targets
from tfkd.tasks._classification import problem_of_logits
from tfkd.tasks._positions import ClassAtEachPosition
from tfkd.tasks._task import as_float32

# The label of a position that does not count.
IGNORED = -100


class LanguageModel(ClassAtEachPosition):
    """Logits of the vocabulary at each position, `(tokens, vocabulary)`.

    Agreement is the fraction of positions where two outputs predict the same token. Labels are token ids
    `(batch, tokens)`; -100 marks positions that do not count.

    Args:
        output_shape: `(tokens, vocabulary)`; the number of tokens may be None.

    Raises:
        ValueError: for any other shape.
    """

    activations = ("softmax",)
    examples: ClassVar[str] = "texts"
    ignored: ClassVar[int] = IGNORED
    position: ClassVar[str] = "token"

    @property
    @abstractmethod
    def label_text(self) -> str:
        """Description of a label, for messages."""

    def labels_text(self, shape: str) -> str:
        return f"token ids {shape} from 0 to {self.classes - 1}, {self.label_text}"

    def check_output_shape(self) -> None:
        shape = self.output_shape
        if len(shape) != 2 or shape[1] is None or shape[1] < 2:
            raise ValueError(
                "A language model returns (batch, tokens, vocabulary), logits of a known vocabulary at "
                f"each position. Received: output shape {(None, *shape)}. For one row of logits per text "
                "use task='text_classification', for one vector per text task='sentence_embedding'."
            )

    def agreement(self, teacher, student, mask=None):
        """The fraction of positions with the same most likely token: float32 `(batch,)`.

        Args:
            teacher: logits `(batch, tokens, vocabulary)`.
            student: logits of the same shape.
            mask: `(batch, tokens)`, true where a position counts; None for all. Rows without any count as
                agreeing.
        """
        same = ops.argmax(teacher, axis=-1) == ops.argmax(student, axis=-1)
        return _mean(as_float32(same), mask, of_none=1.0)

    def divergence(self, teacher, student, mask=None):
        """The mean Kullback-Leibler divergence over positions, masked as in `agreement`."""
        return _mean(soft_targets(teacher, student), mask, of_none=0.0)

    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None):
        """Tokens drawn uniformly from the vocabulary, `(n, tokens)`."""
        tokens = self.output_shape[0] if answers is None else ops.shape(answers)[1]
        if tokens is None:
            raise ValueError(
                f"`answers` are needed to draw targets of {self!r}, whose number of tokens is open."
            )
        return keras.random.randint((n, tokens), 0, self.classes, seed=seed)

    def metric(self) -> keras.metrics.Metric:
        return TokenAccuracy(name="accuracy")

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Accuracy and perplexity of the tokens that count.

        Perplexity is the exponential of their mean cross-entropy in nats.
        """
        right, nats, count = 0, 0.0, 0
        # One row at a time: outputs over a vocabulary are large.
        for logits, row in zip(outputs, labels, strict=True):
            counts = row != IGNORED
            logits, row = logits[counts].astype("float64"), row[counts]
            highest = logits.max(axis=-1, keepdims=True)
            total = np.log(np.exp(logits - highest).sum(axis=-1)) + highest[:, 0]
            nats += float((total - logits[np.arange(len(row)), row]).sum())
            right += int((logits.argmax(axis=-1) == row).sum())
            count += len(row)
        # In float64 it becomes infinite for a very wrong network, without a warning.
        return {"accuracy": right / count, "perplexity": float(np.exp(min(nats / count, 700.0)))}

    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        """Whether accuracy is no higher than when always predicting the most common token."""
        _, counts = np.unique(labels[labels != IGNORED], return_counts=True)
        return bool(self.score(outputs, labels)["accuracy"] <= counts.max() / counts.sum())

    def diagnose(self, outputs: np.ndarray) -> str | None:
        tokens = outputs.reshape(-1, self.classes)
        seen = problem_of_logits(tokens, "token")
        return (
            seen and f"{seen}. Check that the texts were tokenized with the vocabulary it was trained with"
        )

    def agreement_text(self, share: str, examples: str = "texts") -> str:
        return f"agree on {share} of the tokens of {examples}"

    def captions(self, outputs: np.ndarray) -> list[str]:
        return [" ".join(map(str, row[:4])) for row in outputs.argmax(-1)]


@keras.saving.register_keras_serializable(package="tfkd")
class TokenAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """The fraction of correct tokens, among those whose label is not -100.

    Args:
        name: name in `History`.
        dtype: dtype of the result.

    Example:
        >>> model.compile("adam", task.label_loss(), metrics=[tfkd.tasks.TokenAccuracy()])
    """

    def __init__(self, name: str = "token_accuracy", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        counts = as_float32(ops.not_equal(y_true, IGNORED))
        if sample_weight is not None:
            weight = as_float32(sample_weight)
            counts = counts * (weight[:, None] if len(weight.shape) == 1 else weight)
        return super().update_state(y_true, y_pred, counts)


@keras.saving.register_keras_serializable(package="tfkd")
class Perplexity(keras.metrics.Mean):
    """The exponential of the mean cross-entropy of tokens whose label is not -100.

    Predictions are logits `(batch, tokens, vocabulary)`, labels token ids `(batch, tokens)`.

    Args:
        name: name in `History`.
        dtype: dtype of the result.

    Example:
        >>> model.compile("adam", task.label_loss(), metrics=[tfkd.tasks.Perplexity()])
    """

    def __init__(self, name: str = "perplexity", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self._direction = "down"

    def update_state(self, y_true, y_pred, sample_weight=None):
        counts = ops.not_equal(y_true, IGNORED)
        targets = ops.where(counts, y_true, ops.zeros_like(y_true))
        values = ops.sparse_categorical_crossentropy(targets, as_float32(y_pred), from_logits=True)
        weight = as_float32(counts)
        if sample_weight is not None:
            given = as_float32(sample_weight)
            weight = weight * (given[:, None] if len(given.shape) == 1 else given)
        return super().update_state(values, weight)

    def result(self):
        return ops.exp(super().result())


def _mean(values, mask, of_none):
    """The mean over positions that count, row by row."""
    if mask is None:
        return ops.mean(values, axis=-1)
    counts = as_float32(mask)
    number = ops.sum(counts, axis=-1)
    mean = ops.sum(values * counts, axis=-1) / ops.maximum(number, 1.0)
    return ops.where(number > 0, mean, of_none)
