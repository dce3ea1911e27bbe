"""Sentence embeddings: vectors whose direction encodes the meaning of a text."""

from typing import ClassVar

import keras
import numpy as np
from keras import ops

from tfkd.losses import CosineEmbedding, cosine_embedding
from tfkd.tasks._ranks import rank_correlation
from tfkd.tasks._task import Task, as_float32

# Similarities are limited to the first texts; 2,048 texts have two million pairs.
_MOST = 2048
# Minimum number of texts for a rank correlation of pairs.
_FEWEST = 3
# If directions are closer than this, they do not depend on the text.
_ALIKE = 0.99
_CHANCE = 0.1


class SentenceEmbedding(Task):
    """One vector per text, `(dimensions,)`; its direction matters.

    Agreement is the cosine between two outputs; below 0 counts as 0. Labels are other vectors `(batch,
    dimensions)` for the same texts, such as a larger encoder's. `score` gives the mean cosine to them and,
    for three or more texts, Spearman's rank correlation between the pairwise cosines of both (for the first
    2,048 texts). Search and clustering depend on these, and they do not change when a space is rotated.

    Args:
        output_shape: `(dimensions,)`, at least two.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> task = tfkd.tasks.SentenceEmbedding((384,))
        >>> task.score(student.predict(x), teacher.predict(x))
        {'cosine': 0.961, 'rank_correlation': 0.972}

    Reference:
        Reimers, Gurevych, "Sentence-BERT", 2019; the rank correlation is Spearman's, as there. Deviation:
        it is taken against another network's similarities instead of human ratings.
    """

    examples: ClassVar[str] = "texts"
    outputs_are = "a vector for each text; its direction matters"

    def check_output_shape(self) -> None:
        if len(self.output_shape) != 1 or self.output_shape[0] is None or self.output_shape[0] < 2:
            raise ValueError(
                "A sentence encoder returns (batch, dimensions), one vector per text. Received: output "
                f"shape {(None, *self.output_shape)}. Pool vectors of tokens; tfkd.text.sentence_encoder "
                "does."
            )

    def agreement(self, teacher, student):
        return ops.clip(1.0 - cosine_embedding(teacher, student), 0.0, 1.0)

    def divergence(self, teacher, student):
        return ops.maximum(cosine_embedding(teacher, student), 0.0)

    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None):
        """The teacher's outputs for other texts of the batch, otherwise random directions."""
        if answers is not None:
            return keras.random.shuffle(as_float32(answers), axis=0, seed=seed)
        return ops.normalize(keras.random.normal((n, self.classes), seed=seed), axis=-1)

    def target_loss(self, targets, outputs):
        return self.divergence(targets, outputs)

    def soft_loss(self, temperature: float = 1.0) -> CosineEmbedding:
        """One minus the cosine between teacher's and student's vectors; the temperature has no effect."""
        return CosineEmbedding()

    def label_loss(self) -> keras.losses.Loss:
        return keras.losses.CosineSimilarity()

    def metric(self) -> keras.metrics.Metric:
        return keras.metrics.CosineSimilarity(name="cosine")

    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        labels = np.asarray(labels)
        fit = labels.shape == (n, self.classes) and labels.dtype.kind == "f"
        if not fit or not np.isfinite(labels).all():
            raise ValueError(
                f"{argument} must be finite vectors ({n}, {self.classes}), such as a teacher's for the "
                f"same texts. Received: {labels.dtype} of shape {labels.shape}."
            )
        return labels.astype("float32")

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        outputs, labels = _directions(outputs), _directions(labels)
        scores = {"cosine": float((outputs * labels).sum(axis=-1).mean())}
        if len(outputs) >= _FEWEST:
            scores["rank_correlation"] = rank_correlation(_similarities(outputs), _similarities(labels))
        return scores

    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        """Whether a constant vector would be as close to the labels, and ranks are uncorrelated."""
        scores = self.score(outputs, labels)
        fixed = self.score(np.broadcast_to(self.constant(labels), labels.shape), labels)
        return scores["cosine"] <= fixed["cosine"] and scores.get("rank_correlation", 0.0) < _CHANCE

    def diagnose(self, outputs: np.ndarray) -> str | None:
        # The mean cosine of all pairs, including each with itself, is the square of this length.
        alike = float(np.linalg.norm(self.constant(outputs)) ** 2)
        if alike > _ALIKE:
            return (
                f"gives vectors of nearly the same direction (mean cosine {alike:.3f}) for everything: it "
                "hardly depends on its input. Check that the texts were tokenized with the vocabulary it "
                "was trained with"
            )
        return None

    def agreement_text(self, share: str, examples: str = "texts") -> str:
        return f"agree to {share} (the mean cosine between their vectors of {examples})"

    def constant(self, outputs: np.ndarray) -> np.ndarray:
        return _directions(outputs).mean(axis=0).astype("float32")


def _directions(vectors):
    """Unit vectors in float64; zero vectors stay 0."""
    vectors = np.asarray(vectors, "float64")
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _similarities(directions):
    """The cosines of all pairs of texts."""
    directions = directions[:_MOST]
    return (directions @ directions.T)[np.triu_indices(len(directions), 1)]
