"""ImageSummaries: shows synthesized images in TensorBoard."""

import os

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.checks import check_int
from tfkd.datafree import _views as views

_CHANNELS = (1, 3, 4)


class ImageSummaries(keras.callbacks.Callback):
    """Writes synthesized images as image summaries, alongside `keras.callbacks.TensorBoard`.

    Drawing them does not affect training. Inputs that are not images with 1, 3 or 4 channels are not
    written.

    Args:
        log_dir: the folder of the event files, the same as for `keras.callbacks.TensorBoard`; summaries go
            to its subfolder `train`, under the name "synthesized".
        every: the number of epochs between summaries; the first epoch always has one.
        count: the number of images, at least 1.

    Raises:
        ValueError: if `every` or `count` is below 1.

    Example:
        >>> distiller.fit(callbacks=[
        ...     keras.callbacks.TensorBoard("logs"), tfkd.datafree.ImageSummaries("logs", every=5)
        ... ])
    """

    def __init__(self, log_dir: str | os.PathLike, every: int = 1, count: int = 16) -> None:
        super().__init__()
        check_int("every", every)
        check_int("count", count)
        self.log_dir, self.every, self.count = os.fspath(log_dir), every, count

    def on_train_begin(self, logs=None):
        self._writer = tf.summary.create_file_writer(os.path.join(self.log_dir, "train"))

    def on_epoch_end(self, epoch, logs=None):
        if epoch and (epoch + 1) % self.every:
            return
        with self.model.preserving_state():
            inputs = self.model.synthesize(self.count)
        if _are_images(inputs):
            with self._writer.as_default():
                tf.summary.image("synthesized", inputs, step=epoch, max_outputs=self.count)

    def on_train_end(self, logs=None):
        self._writer.close()


def _are_images(inputs):
    # The inputs of a language model are a dictionary.
    return isinstance(inputs, np.ndarray) and views.fit(inputs.shape[1:]) and inputs.shape[-1] in _CHANNELS
