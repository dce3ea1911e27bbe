"""MultiLabel: several labels, each on or off independently of the others."""

import keras
import numpy as np
from keras import ops

from tfkd.losses import BernoulliTargets, bernoulli_targets
from tfkd.tasks._classification import barely_chance
from tfkd.tasks._task import ClassTask, as_float32


class MultiLabel(ClassTask):
    """Independent labels, each with its own sigmoid; outputs are their logits `(labels,)`.

    Agreement is the fraction of labels on which two outputs agree. Where a single class is needed, such as
    the class an image is made for, it means the label of that index, regardless of the others.

    Args:
        output_shape: `(labels,)`, at least one.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> teacher = tfkd.load_teacher("tagger.keras", task="multi_label")
        >>> tfkd.tasks.task_of(teacher)
        MultiLabel((10,))
    """

    activations = ("sigmoid",)
    outputs_are = "logits of independent labels; a sigmoid turns them into probabilities"

    def check_output_shape(self) -> None:
        if len(self.output_shape) != 1 or not self.output_shape[0]:
            raise ValueError(
                "A network with independent labels returns (batch, labels), with a known number of "
                f"labels. Received: output shape {(None, *self.output_shape)}."
            )

    def agreement(self, teacher, student):
        same = (as_float32(teacher) > 0) == (as_float32(student) > 0)
        return ops.mean(as_float32(same), axis=-1)

    def divergence(self, teacher, student):
        return bernoulli_targets(teacher, student)

    def target_loss(self, targets, outputs):
        wanted = ops.one_hot(targets, self.classes, dtype="float32")
        return ops.sum(wanted * ops.softplus(-as_float32(outputs)), axis=-1)

    def group(self, outputs):
        return ops.argmax(outputs, axis=-1)

    def shares(self, outputs: np.ndarray) -> np.ndarray:
        return (outputs > 0).mean(axis=0)

    def agreement_by_label(self, teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
        """The fraction of examples on which two networks agree, per label: `(labels,)`."""
        return ((teacher > 0) == (student > 0)).mean(axis=0)

    def log_probabilities(self, outputs):
        return ops.log_sigmoid(as_float32(outputs))

    def log_outcomes(self, outputs):
        outputs = as_float32(outputs)
        return ops.stack([ops.log_sigmoid(outputs), ops.log_sigmoid(-outputs)], axis=-1)

    def confidence(self, outputs):
        return ops.mean(ops.sigmoid(ops.abs(as_float32(outputs))), axis=-1)

    def soft_loss(self, temperature: float = 1.0) -> BernoulliTargets:
        return BernoulliTargets(temperature)

    def label_loss(self) -> keras.losses.Loss:
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def metric(self) -> keras.metrics.Metric:
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)

    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        labels = np.asarray(labels)
        labels = labels[:, None] if labels.ndim == 1 and self.classes == 1 else labels
        if labels.shape != (n, self.classes) or not np.isin(labels, (0, 1)).all():
            raise ValueError(
                f"{argument} must be 0 or 1 for each of {self.classes} labels, ({n}, {self.classes}). "
                f"Received: shape {labels.shape}, values {np.unique(labels)[:10].tolist()}."
            )
        return labels

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        right = (outputs > 0) == (labels > 0)
        return {"accuracy": float(right.mean()), "all_labels_accuracy": float(right.all(axis=-1).mean())}

    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        """Based on ranks, since a good network for rare labels may predict hardly any."""
        told = [_ranking(outputs[:, i], labels[:, i] > 0) for i in range(self.classes)]
        told = [value for value in told if value is not None]
        return bool(told) and float(np.mean(told)) < barely_chance(2)

    def diagnose(self, outputs: np.ndarray) -> str | None:
        confidence = np.asarray(self.confidence(outputs))
        shares = (outputs > 0).mean(axis=0)
        never, always = int((shares == 0).sum()), int((shares == 1).sum())
        seen = (
            f"has mean confidence {confidence.mean():.2f}; of {self.classes} labels, {never} are never on "
            f"and {always} always"
        )
        if confidence.mean() < barely_chance(2):
            return f"{seen}: it looks untrained"
        if never + always == self.classes:
            return f"{seen}: it hardly depends on its input"
        if np.median(confidence) > 0.9999:
            return f"{seen}: it is saturated, as when inputs are too large"
        return None

    def agreement_text(self, share: str, examples: str = "examples") -> str:
        return f"agree on {share} of the labels of {examples}"

    def captions(self, outputs: np.ndarray) -> list[str]:
        return [" ".join(map(str, np.flatnonzero(row > 0)[:4])) or "none" for row in outputs]

    def constant(self, outputs: np.ndarray) -> np.ndarray:
        return np.where((outputs > 0).mean(axis=0) > 0.5, 1.0, -1.0).astype("float32")


def _ranking(outputs, labels):
    """The area under the ROC curve, ties counting half; None for a label that is always or never on."""
    on, off = np.sort(outputs[labels]), np.sort(outputs[~labels])
    if not (len(on) and len(off)):
        return None
    below = np.searchsorted(off, on, "left") + np.searchsorted(off, on, "right")
    return below.sum() / (2 * len(on) * len(off))
