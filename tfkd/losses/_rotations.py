"""Batches of images and their rotations."""

import keras
import tensorflow as tf
from keras import tree

# Rows per image in a batch: the image and three rotations.
VIEWS = 4


def with_rotations(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Batches of images, each followed by three rotations, for `SelfSupervised`.

    The rotations, by 90, 180 and 270 degrees, have the image's label and weight 0; the image itself has
    weight 4 (times its own). Labels and other losses therefore count images only, with the same mean as
    before. Under `tf.distribute`, choose a batch size that splits into whole images.

    Args:
        dataset: yields batches `images`, `(images, y)` or `(images, y, sample_weight)`, with images
            `(batch, size, size, channels)`.

    Returns:
        A data set of `(images, y, sample_weight)`, four rows for each row of `dataset`.

    Raises:
        ValueError: if it does not yield batches of square images.

    Example:
        >>> with_rotations(tf.data.Dataset.from_tensor_slices((x, y)).shuffle(60000).batch(64))

    Reference:
        Xu et al., "Knowledge Distillation Meets Self-Supervision", 2020.
    """
    spec = keras.utils.unpack_x_y_sample_weight(dataset.element_spec)[0]
    shape = getattr(spec, "shape", None)
    if shape is None or len(shape) != 4 or shape[1] != shape[2]:
        raise ValueError(
            "`dataset` must yield batches of square images (batch, size, size, channels). Received: "
            f"{spec}. Resize or crop them, and call .batch(...) first."
        )

    def rotated(*element):
        images, y, sample_weight = keras.utils.unpack_x_y_sample_weight(element)
        views = tf.stack([tf.image.rot90(images, turns) for turns in range(VIEWS)], axis=1)
        if sample_weight is None:
            sample_weight = tf.ones(tf.shape(images)[:1])
        weights = tf.repeat(tf.cast(sample_weight, "float32"), VIEWS, axis=0)
        counts = tf.tile(tf.constant([VIEWS] + [0] * (VIEWS - 1), "float32"), tf.shape(images)[:1])
        counts = tf.reshape(counts, tf.concat([[-1], tf.ones(tf.rank(weights) - 1, "int32")], 0))
        if y is not None:
            y = tree.map_structure(lambda labels: tf.repeat(labels, VIEWS, axis=0), y)
        rows = tf.reshape(views, tf.concat([[-1], tf.shape(images)[1:]], 0))
        return tf.ensure_shape(rows, (None, *images.shape[1:])), y, weights * counts

    return dataset.map(rotated, tf.data.AUTOTUNE)
