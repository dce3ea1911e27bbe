"""Classification: one of several classes is right."""

import keras
import numpy as np
from keras import ops

from tfkd.losses import SoftTargets, soft_targets
from tfkd.tasks._task import ClassTask, as_float32


class Classification(ClassTask):
    """One of several classes is right; outputs are their logits `(classes,)`.

    Args:
        output_shape: `(classes,)`, at least two.

    Raises:
        ValueError: for another shape.

    Example:
        >>> Classification((10,)).agreement(teacher(images), student(images))
    """

    def check_output_shape(self) -> None:
        if len(self.output_shape) != 1 or self.output_shape[0] is None or self.output_shape[0] < 2:
            raise ValueError(
                "A classifier returns (batch, classes), the logits of at least two classes. Received: "
                f"output shape {(None, *self.output_shape)}. tfkd.load_teacher turns one sigmoid unit into two "
                "logits; several independent labels are task='multi_label', numbers task='regression'."
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
        if labels.shape != (n,):
            raise ValueError(
                f"{argument} must be {n} class numbers, one an example. Received: shape {labels.shape}. Take "
                "the argmax of one-hot labels."
            )
        return labels

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        return {"accuracy": float(np.mean(outputs.argmax(-1) == labels))}

    def constant(self, outputs: np.ndarray) -> np.ndarray:
        commonest = np.bincount(outputs.argmax(-1), minlength=self.classes).argmax()
        return np.eye(self.classes, dtype="float32")[commonest]
