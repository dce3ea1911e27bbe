"""MultiLabel: each of several labels is right or not, independently of the others."""

import keras
import numpy as np
from keras import ops

from tfkd.losses import BernoulliTargets, bernoulli_targets
from tfkd.tasks._task import ClassTask, as_float32


class MultiLabel(ClassTask):
    """Independent labels, each with a sigmoid of its own; outputs are their logits `(labels,)`.

    Two answers agree by the share of labels on which they do. Where one thing is asked for, such as a class
    that an image is made for, it is the label of that number, whatever the others are.

    Args:
        output_shape: `(labels,)`, at least one.

    Raises:
        ValueError: for another shape.

    Example:
        >>> teacher = tfkd.load_teacher("tagger.keras", task="multi_label")
        >>> tfkd.tasks.task_of(teacher)
        MultiLabel((5,))
    """

    def check_output_shape(self) -> None:
        if len(self.output_shape) != 1 or not self.output_shape[0]:
            raise ValueError(
                "A network of independent labels returns (batch, labels), a known number of logits. Received: "
                f"output shape {(None, *self.output_shape)}."
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
                f"{argument} must be 0 or 1 for each of {self.classes} labels, ({n}, {self.classes}). Received: "
                f"shape {labels.shape}, values {np.unique(labels)[:10].tolist()}."
            )
        return labels

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        right = (outputs > 0) == (labels > 0)
        return {"accuracy": float(right.mean()), "all_labels_accuracy": float(right.all(axis=-1).mean())}

    def constant(self, outputs: np.ndarray) -> np.ndarray:
        return np.where((outputs > 0).mean(axis=0) > 0.5, 1.0, -1.0).astype("float32")
