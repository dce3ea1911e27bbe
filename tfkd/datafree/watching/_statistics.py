"""Re-estimates a student's batch statistics once its weights are final."""

import keras
import numpy as np
import tensorflow as tf

from tfkd._core.asking import in_parts
from tfkd._core.keras_internals import flatten_layers
from tfkd._core.snapshots import preserving_state


def reestimate_statistics(student: keras.Model, images: np.ndarray, batch_size: int = 256) -> int:
    """Sets the moving statistics of batch normalization to the statistics of the given images.

    Training leaves moving averages over weights and inputs that have changed since. Here every
    `BatchNormalization` layer, nested ones included, gets the plain average over batches of the mean and
    the (biased) variance of its inputs in training mode. No other variable changes, including dropout
    seeds; frozen layers (`trainable=False`) keep their statistics. A layer that the student uses in several
    places gets the statistics of the last one.

    Args:
        student: a built model.
        images: the student's inputs `(n, ...)`.
        batch_size: the largest batch size; batches are smaller if they would need more than 256 MiB, and of
            about equal size.

    Returns:
        The number of layers updated; 0 if there are none, in which case nothing is computed.

    Raises:
        ValueError: if there are no images, or the batch size is below 1.

    Example:
        >>> tfkd.datafree.reestimate_statistics(distiller.student, distiller.synthesize(1000))

    Reference:
        Wu, Johnson, "Rethinking 'Batch' in BatchNorm", 2021 (PreciseBN, in which the k-th batch has
        momentum 1 - 1/k, which gives the same average). Deviation: the variance is the average of the
        batches' variances, without the variance of their means.
    """
    if len(images) < 1 or batch_size < 1:
        raise ValueError(
            "`images` must hold at least one image, and `batch_size` must be at least 1. "
            f"Received: {len(images)} images, batch_size={batch_size!r}."
        )
    normalizing = [
        layer
        for layer in flatten_layers(student)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not normalizing:
        return 0
    statistics = [v for layer in normalizing for v in (layer.moving_mean, layer.moving_variance)]
    averages = _averages(student, normalizing, statistics, in_parts(student, images, batch_size))
    for variable, average in zip(statistics, averages, strict=True):
        variable.assign(average)
    return len(normalizing)


def _averages(student, normalizing, statistics, batches):
    """The statistics, averaged over the batches; the student is not changed."""
    momenta = [layer.momentum for layer in normalizing]
    totals, count = [np.zeros(v.shape) for v in statistics], 0
    # Traced below, where the layers have no momentum; a graph keeps fewer intermediate values than Python.
    learn = tf.function(lambda batch: student(batch, training=True), autograph=False, reduce_retracing=True)
    with preserving_state(student.non_trainable_variables):
        try:
            # Without momentum, a pass sets a layer's statistics to those of its batch.
            for layer in normalizing:
                layer.momentum = 0.0
            # Even then, a value that is not finite would persist.
            for variable in statistics:
                variable.assign(np.zeros(variable.shape))
            for batch in batches:
                learn(batch)
                count += 1
                for total, variable in zip(totals, statistics, strict=True):
                    total += variable.numpy()
        finally:
            for layer, momentum in zip(normalizing, momenta, strict=True):
                layer.momentum = momentum
    return [total / count for total in totals]
