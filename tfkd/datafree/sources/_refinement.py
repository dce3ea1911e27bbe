"""A few smoothed gradient steps that carry images towards a class and away from the student."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd.datafree.objectives._batch_statistics import gaussian_kl
from tfkd.datafree.objectives._moments import observe, stored_statistics
from tfkd.losses import soft_targets

_BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]).astype("float32") / 16


def refine(
    images,
    targets,
    teacher: keras.Model,
    student: keras.Model | None = None,
    steps: int = 2,
    step_size: float = 0.1,
    adversarial: float = 0.0,
    statistics: float = 0.0,
):
    """Moves images towards target classes of the teacher, optionally where the student is wrong.

    Each step follows the gradient of the teacher's cross-entropy with the target, less
    `adversarial` times KL(teacher || student), and `statistics` times the divergence of the batch's inner
    features from those that the teacher's batch normalizations remember. The gradient is smoothed by a
    3x3 binomial filter, so that strokes and blobs appear instead of pixel noise, and scaled to the same
    size for every image.

    Args:
        images: `(batch, height, width, channels)` in [0, 1].
        targets: int classes `(batch,)`.
        teacher: the teacher.
        student: the student; may be None where `adversarial` is 0.
        steps: how many steps.
        step_size: root-mean-square change of the pixels in one step.
        adversarial: weight of the divergence from the student.
        statistics: weight of the batch statistics; without effect for a teacher without them.

    Returns:
        Images of the same shape in [0, 1], without gradient.
    """
    channels = images.shape[-1]
    kernel = ops.convert_to_tensor(np.tile(_BINOMIAL[:, :, None, None], (1, 1, channels, 1)))
    stored = stored_statistics(teacher) if statistics else {}
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits, seen = observe(teacher, images, stored)
            goal = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
            if adversarial:
                goal -= adversarial * soft_targets(logits, student(images, training=False))
            for each in seen:
                goal += statistics * gaussian_kl(*each.of_batch(), each.stored_mean, each.stored_variance)
        slope = ops.depthwise_conv(tape.gradient(goal, images), kernel, padding="same")
        size = ops.sqrt(ops.mean(slope**2, axis=(1, 2, 3), keepdims=True))
        images = ops.clip(images - step_size * slope / (size + 1e-12), 0.0, 1.0)
    return tf.stop_gradient(images)
