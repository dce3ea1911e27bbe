"""Segmentation: a class for each pixel."""

from typing import ClassVar

import keras
import numpy as np
from keras import ops

from tfkd.losses import soft_targets
from tfkd.tasks._classification import barely_chance
from tfkd.tasks._positions import ClassAtEachPosition
from tfkd.tasks._task import as_float32

# The label of a pixel that does not count, as in Pascal VOC and Cityscapes.
IGNORED = 255


class Segmentation(ClassAtEachPosition):
    """A class for each pixel (semantic segmentation); outputs are logits `(height, width, classes)`.

    Agreement is the fraction of pixels where two outputs predict the same class. Labels are class indices
    `(batch, height, width)`; 255 marks pixels that do not count. `score` gives the mean intersection over
    union (mIoU) of the classes that occur in labels or predictions, and the fraction of correct pixels.

    Args:
        output_shape: `(height, width, classes)`, with 2 to 255 classes; height and width may be None.

    Raises:
        ValueError: for any other shape.

    Example:
        >>> task = tfkd.tasks.Segmentation((64, 64, 4))
        >>> task.score(student.predict(images), masks)
        {'mean_iou': 0.71, 'accuracy': 0.93}

    Reference:
        Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", 2015, for the
        intersection over union, taken over all pixels of all images. Deviation: classes that do not occur
        are ignored.
    """

    activations = ("softmax", "sigmoid")
    binary_as_pair = True
    examples: ClassVar[str] = "images"
    outputs_are = "logits of the classes of each pixel"
    ignored: ClassVar[int] = IGNORED
    position: ClassVar[str] = "pixel"

    def check_output_shape(self) -> None:
        shape = self.output_shape
        if len(shape) != 3 or shape[-1] is None or not 2 <= shape[-1] <= IGNORED:
            raise ValueError(
                "A segmentation network returns (batch, height, width, classes), the logits of 2 to "
                f"{IGNORED} classes at each pixel. Received: output shape {(None, *shape)}. Put the "
                "classes last; for one output per image use task='classification'."
            )

    def agreement(self, teacher, student):
        same = ops.argmax(teacher, axis=-1) == ops.argmax(student, axis=-1)
        return ops.mean(as_float32(same), axis=(1, 2))

    def divergence(self, teacher, student):
        return ops.mean(soft_targets(teacher, student), axis=(1, 2))

    def draw_targets(self, n: int, seed: keras.random.SeedGenerator, answers=None):
        """The teacher's masks for other inputs of the batch, `(n, height, width)`."""
        if answers is None:
            raise ValueError(
                "`recipe` makes inputs for classes, but the teacher gives a class to each pixel (task "
                "'segmentation'). Use a recipe without classes, such as Procedural or DFAD."
            )
        return keras.random.shuffle(ops.argmax(answers, axis=-1), axis=0, seed=seed)

    def metric(self) -> keras.metrics.Metric:
        return keras.metrics.MeanIoU(
            self.classes, name="mean_iou", ignore_class=IGNORED, sparse_y_pred=False
        )

    def labels_text(self, shape: str) -> str:
        return f"masks {shape} of classes from 0 to {self.classes - 1}"

    def check_labels(self, labels: np.ndarray, n: int, argument: str) -> np.ndarray:
        labels = np.asarray(labels)
        # Mask files often have a channel axis of size 1.
        one_channel = labels.ndim == 4 and labels.shape[-1] == 1
        return super().check_labels(labels[..., 0] if one_channel else labels, n, argument)

    def score(self, outputs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        pairs = self._pairs(outputs, labels)
        right = pairs.diagonal()
        union = pairs.sum(axis=0) + pairs.sum(axis=1) - right
        seen = union > 0
        return {
            "mean_iou": float(np.mean(right[seen] / union[seen])),
            "accuracy": float(right.sum() / pairs.sum()),
        }

    def _pairs(self, outputs, labels):
        """Confusion matrix: labelled classes (rows) and predicted ones (columns)."""
        pairs = np.zeros(self.classes**2, "int64")
        # One image at a time: maps with many classes are large.
        for logits, mask in zip(outputs, labels, strict=True):
            counts = mask != IGNORED
            both = mask[counts] * self.classes + logits.argmax(axis=-1)[counts]
            pairs += np.bincount(both, minlength=self.classes**2)
        return pairs.reshape(self.classes, self.classes)

    def is_chance(self, outputs: np.ndarray, labels: np.ndarray) -> bool:
        """Whether it is no better than predicting the most common class everywhere."""
        shares = np.bincount(labels[labels != IGNORED]) / np.sum(labels != IGNORED)
        constant = shares.max() / np.count_nonzero(shares)
        return bool(self.score(outputs, labels)["mean_iou"] <= constant)

    def diagnose(self, outputs: np.ndarray) -> str | None:
        confidence = np.mean(ops.max(ops.softmax(as_float32(outputs), axis=-1), axis=-1))
        commonest = np.bincount(outputs.argmax(-1).reshape(-1)).max() / outputs[..., 0].size
        seen = (
            f"has mean confidence {confidence:.2f} and predicts its most common class for {commonest:.1%} "
            "of pixels"
        )
        if confidence < barely_chance(self.classes):
            return f"{seen}, hardly above chance: it looks untrained"
        # Most of an image may well be background.
        return f"{seen}: it hardly depends on its input" if commonest > 0.999 else None

    def agreement_text(self, share: str, examples: str = "images") -> str:
        return f"agree on {share} of the pixels of {examples}"

    def captions(self, outputs: np.ndarray) -> list[str]:
        """The most common class and its fraction."""
        masks = outputs.argmax(-1).reshape(len(outputs), -1)
        counts = [np.bincount(mask, minlength=self.classes) for mask in masks]
        return [f"{each.argmax()}  {each.max() / each.sum():.0%}" for each in counts]
