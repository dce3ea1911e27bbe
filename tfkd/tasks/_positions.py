"""ClassAtEachPosition: base class of segmentation and language models."""

from abc import abstractmethod
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from tfkd.losses import SoftTargets
from tfkd.tasks._task import Task, as_float32


class ClassAtEachPosition(Task):
    """One of several classes is right at each position: of an image's pixels, or of a text's tokens.

    Labels are class indices, one for each position.
    """

    tempered: ClassVar[bool] = True
    # The label of a position that does not count, and the name of a position.
    ignored: ClassVar[int]
    position: ClassVar[str]

    @abstractmethod
    def labels_text(self, shape: str) -> str:
        """Description of the labels, for messages.

        Args:
            shape: shape of all labels, such as "(100, 48, 48)".
        """

    def target_loss(self, targets, outputs):
        values = ops.sparse_categorical_crossentropy(targets, as_float32(outputs), from_logits=True)
        return ops.mean(values, axis=tuple(range(1, len(values.shape))))

    def soft_loss(self, temperature: float = 1.0) -> SoftTargets:
        return SoftTargets(temperature)

    def label_loss(self) -> keras.losses.Loss:
        """Cross-entropy, averaged over the positions that count."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=self.ignored)

    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        labels, sides = np.asarray(labels), self.output_shape[:-1]
        shaped = labels.ndim == 1 + len(sides) and len(labels) == n
        shaped = shaped and all(
            side in (None, own) for side, own in zip(sides, labels.shape[1:], strict=True)
        )
        counted = labels[labels != self.ignored] if shaped else labels
        values = np.unique(counted)
        if not (shaped and np.isin(values, np.arange(self.classes)).all()):
            shape = ", ".join(f"{self.position}s" if side is None else str(side) for side in (n, *sides))
            raise ValueError(
                f"{argument} must be {self.labels_text(f'({shape})')}, and {self.ignored} where a "
                f"{self.position} does not count. Received: {labels.dtype} of shape {labels.shape}, values "
                f"{values[:5].tolist()} to {values[-5:].tolist()}."
            )
        if not counted.size:
            raise ValueError(
                f"{argument} must have at least one {self.position} that counts. Received: {self.ignored} "
                "everywhere."
            )
        return labels.astype("int64")

    def constant(self, outputs: np.ndarray) -> np.ndarray:
        commonest = np.bincount(outputs.argmax(-1).reshape(-1), minlength=self.classes).argmax()
        one = np.eye(self.classes, dtype="float32")[commonest]
        return np.broadcast_to(one, outputs.shape[1:]).copy()
