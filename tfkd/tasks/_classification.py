"""Classification: one of several classes is right."""

import keras
import numpy as np
from keras import ops

from tfkd.losses import SoftTargets, soft_targets
from tfkd.tasks._task import ClassTask, as_float32


class Classification(ClassTask):
    """One of several classes is right; outputs are their logits `(classes,)`.

    Agreement is 1 if two outputs predict the same class, otherwise 0.

    Args:
        output_shape: `(classes,)`, at least two.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> Classification((10,)).agreement(teacher(images), student(images))
    """

    activations = ("softmax", "sigmoid")
    binary_as_pair = True
    outputs_are = "logits of the classes, one of which is right; a softmax turns them into probabilities"

    def check_output_shape(self) -> None:
        if len(self.output_shape) != 1 or self.output_shape[0] is None or self.output_shape[0] < 2:
            raise ValueError(
                "A classifier returns (batch, classes), the logits of at least two classes. Received: "
                f"output shape {(None, *self.output_shape)}. tfkd.load_teacher turns one sigmoid unit into "
                "two logits; for independent labels use task='multi_label', for numbers task='regression'."
            )

    def agreement(self, teacher, student):
        return as_float32(ops.argmax(teacher, axis=-1) == ops.argmax(student, axis=-1))

    def divergence(self, teacher, student):
        return soft_targets(teacher, student)

    def target_loss(self, targets, outputs):
        return ops.sparse_categorical_crossentropy(targets, as_float32(outputs), from_logits=True)

    def group(self, outputs):
        return ops.argmax(outputs, axis=-1)

    def log_probabilities(self, outputs):
        return ops.log_softmax(as_float32(outputs), axis=-1)

    def log_outcomes(self, outputs):
        return self.log_probabilities(outputs)

    def confidence(self, outputs):
        return ops.max(ops.softmax(as_float32(outputs), axis=-1), axis=-1)

    def soft_loss(self, temperature: float = 1.0) -> SoftTargets:
        return SoftTargets(temperature)

    def label_loss(self) -> keras.losses.Loss:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metric(self) -> keras.metrics.Metric:
        return keras.metrics.SparseCategoricalAccuracy(name="accuracy")

    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        labels = np.asarray(labels)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.shape != (n,) or not np.isin(labels, np.arange(self.classes)).all():
            raise ValueError(
                f"{argument} must be {n} class indices from 0 to {self.classes - 1}, one per example. "
                f"Received: shape {labels.shape}, values {np.unique(labels)[:10].tolist()}. Take the "
                "argmax of one-hot labels."
            )
        return labels.astype("int64")

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"accuracy": float(np.mean(outputs.argmax(-1) == labels))}

    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        return self.score(outputs, labels)["accuracy"] < barely_chance(self.classes)

    def diagnose(self, outputs: np.ndarray) -> str | None:
        return problem_of_logits(outputs, "class")

    def agreement_text(self, share: str, examples: str = "examples") -> str:
        return f"agree on {share} of {examples}"

    def captions(self, outputs: np.ndarray) -> list[str]:
        sure = np.asarray(self.confidence(outputs))
        return [f"{label}  {p:.0%}" for label, p in zip(outputs.argmax(-1), sure, strict=True)]

    def constant(self, outputs: np.ndarray) -> np.ndarray:
        commonest = np.bincount(outputs.argmax(-1), minlength=self.classes).argmax()
        return np.eye(self.classes, dtype="float32")[commonest]


def barely_chance(classes: int) -> float:
    """The accuracy, or confidence, of a classifier that is barely better than guessing."""
    chance = 1 / classes
    return chance + min(0.5 * chance, 0.15 * (1 - chance))


def problem_of_logits(outputs: np.ndarray, kind: str) -> str | None:
    """A problem with logits that look untrained, constant or saturated, in words that follow "it".

    Args:
        outputs: logits `(n, classes)`.
        kind: name for a class.

    Returns:
        The description; None if nothing looks wrong.
    """
    classes = outputs.shape[-1]
    confidence = np.asarray(ops.max(ops.softmax(as_float32(outputs), axis=-1), axis=-1))
    commonest = np.bincount(outputs.argmax(-1), minlength=classes).max() / len(outputs)
    seen = f"has mean confidence {confidence.mean():.2f} and its most common {kind} takes {commonest:.0%}"
    if confidence.mean() < barely_chance(classes):
        return f"{seen}, hardly above chance: it looks untrained"
    if commonest > 0.95:
        return f"{seen}: it hardly depends on its input"
    if np.median(confidence) > 0.9999:
        return f"{seen}: it is saturated, as when inputs are too large"
    return None
