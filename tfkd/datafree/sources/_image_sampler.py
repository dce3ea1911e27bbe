"""ImageSampler: makes images on demand, in the same way as training."""

import keras
import numpy as np
import tensorflow as tf

from tfkd.datafree._lesson import Lesson
from tfkd.datafree.sources._base import Source
from tfkd.datafree.sources._class_sampling import most_confident
from tfkd.tasks._task import as_class_task


class ImageSampler:
    """Draws images from a source.

    Args:
        source: the source, which makes or stores them.
        lesson: the networks, their task, and the random state.
        batch_size: the number of images drawn at a time.
    """

    def __init__(self, source: Source, lesson: Lesson, batch_size: int) -> None:
        self._source, self._lesson, self._batch_size = source, lesson, batch_size

    def images(self, n: int) -> np.ndarray:
        """Any `n` images."""
        kept = self._source.kept(n)
        if kept is not None:
            return kept
        batches = -(-n // self._batch_size)
        return np.concatenate([self._batch().numpy() for _ in range(batches)])[:n]

    def of_classes(self, labels: np.ndarray) -> np.ndarray:
        """Images that the teacher should classify as these classes, int32 `(n,)`."""
        # The memory may still be empty.
        self._source.kept(1)
        return most_confident(self._candidates, labels, self._lesson.task.classes, self._batch_size)

    @tf.function(autograph=False)
    def _batch(self):
        images, _ = self._source.draw(self._batch_size)
        # Shuffle, since refined and generated images are grouped in a batch.
        return keras.random.shuffle(images, axis=0, seed=self._lesson.seed)

    @tf.function(autograph=False)
    def _candidates(self, targets):
        images = self._source.candidates(targets)
        task = as_class_task(self._lesson.task)
        return images, task.log_probabilities(self._lesson.ask(images))
