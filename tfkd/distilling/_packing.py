"""How a teacher's outputs are stored: exactly, in float16, or as the logits of the likeliest classes."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfkd._core.checks import check_int, check_number

# The largest number that float16 holds.
_LARGEST = 65504.0
Compress = int | str | None
Shape = tuple[int | None, ...]


class Exact:
    """Stores values exactly."""

    def pack(self, values) -> list[Any]:
        """The tensors to store, with a row for each example."""
        return [values]

    def unpack(self, packed: list[Any]) -> Any:
        """The values that were packed."""
        return packed[0]

    def shapes(self, shape: Shape) -> list[Shape]:
        """The shapes of the tensors that `pack` returns for values of a shape."""
        return [shape]


class Half(Exact):
    """Stores values in float16, clipped to its range.

    Args:
        dtype: the dtype of the original values.
    """

    def __init__(self, dtype: tf.DType) -> None:
        self.dtype = dtype

    def pack(self, values) -> list[Any]:
        return [tf.saturate_cast(values, tf.float16)]

    def unpack(self, packed: list[Any]) -> Any:
        return tf.cast(packed[0], self.dtype)


class TopLogits:
    """Stores the largest logits of each row in float16, and one value for all others.

    Values are stored as differences from the largest logit, so that the softmax and the order of classes
    are as exact as float16 allows.

    Args:
        kept: the number of logits to keep.
        classes: the number of classes.
        temperature: the temperature at which the others' total probability is preserved.
        dtype: the dtype of the logits.
    """

    def __init__(self, kept: int, classes: int, temperature: float, dtype: tf.DType) -> None:
        self.kept, self.classes, self.temperature, self.dtype = kept, classes, temperature, dtype

    def pack(self, values) -> list[Any]:
        """Packs logits `(..., classes)` into differences, classes, and the largest and the other logit."""
        logits = tf.cast(values, "float32")
        top, classes = tf.math.top_k(logits, self.kept)
        largest, least = top[..., :1], top[..., -1:]
        # Of equal logits, some may be kept and some not.
        equal = tf.reduce_sum(tf.cast(logits >= least, "float32"), -1, keepdims=True) - self.kept
        below = tf.where(logits < least, logits, -np.inf) / self.temperature
        others = tf.concat([below, least / self.temperature + tf.math.log(equal)], -1)
        mass = tf.reduce_logsumexp(others, -1, keepdims=True)
        rest = self.temperature * (mass - np.log(self.classes - self.kept))
        levels = tf.concat([largest, tf.maximum(rest, largest - _LARGEST)], -1)
        numbers = tf.uint16 if self.classes <= 2**16 else tf.int32
        return [tf.saturate_cast(top - largest, tf.float16), tf.cast(classes, numbers), levels]

    def unpack(self, packed: list[Any]) -> Any:
        """Logits `(..., classes)`."""
        differences, classes, levels = packed
        shape = tf.concat([tf.shape(differences)[:-1], [self.classes]], 0)
        rows = tf.reshape(tf.broadcast_to(levels[..., 1:], shape), (-1, self.classes))
        top = tf.reshape(levels[..., :1] + tf.cast(differences, "float32"), (-1,))
        row = tf.repeat(tf.range(tf.shape(rows)[0]), self.kept)
        where = tf.stack([row, tf.reshape(tf.cast(classes, "int32"), (-1,))], 1)
        dense = tf.reshape(tf.tensor_scatter_nd_update(rows, where, top), shape)
        return tf.cast(dense, self.dtype)

    def shapes(self, shape: Shape) -> list[Shape]:
        """The shapes of the tensors that `pack` returns for logits of a shape."""
        return [(*shape[:-1], self.kept), (*shape[:-1], self.kept), (*shape[:-1], 2)]

    def lost_share(self, logits) -> float:
        """The lost fraction of the soft-target loss of an untrained student.

        Args:
            logits: a teacher's logits `(..., classes)`.

        Returns:
            KL(teacher || stored) divided by KL(teacher || equal probabilities), at the temperature.
        """
        known = tf.nn.log_softmax(tf.cast(logits, "float32") / self.temperature)
        kept = tf.nn.log_softmax(tf.cast(self.unpack(self.pack(logits)), "float32") / self.temperature)
        probabilities = tf.exp(known)
        lost = tf.reduce_mean(tf.reduce_sum(tf.math.multiply_no_nan(known - kept, probabilities), -1))
        entropy = -tf.reduce_mean(tf.reduce_sum(tf.math.multiply_no_nan(known, probabilities), -1))
        return float(tf.math.divide_no_nan(lost, np.log(self.classes) - entropy))


def check_compress(compress: Compress, temperature: float) -> Compress:
    """Raises ValueError unless `compress` is None, "float16" or a number of classes, and returns it."""
    check_number("temperature", temperature, above=0, remedy="Pass that of the losses, such as 4.")
    if compress is None or compress == "float16":
        return compress
    if isinstance(compress, str):
        raise ValueError(
            '`compress` must be None, "float16" or the number of likeliest classes to keep, such as 32. '
            f"Received: {compress!r}."
        )
    return check_int("compress", compress, remedy='Or use "float16", or None for exact values.')


def packing_of(compress: Compress, temperature: float, values, of_output: bool) -> Exact | TopLogits:
    """Chooses how to store values.

    Args:
        compress: None, "float16" or a number of classes.
        temperature: the temperature of the losses, for a number of classes.
        values: an example of the values.
        of_output: whether they are an output of the teacher, whose last axis is the classes.

    Raises:
        ValueError: if `compress` is not below the number of classes.
    """
    if compress is None or not values.dtype.is_floating:
        return Exact()
    if isinstance(compress, str) or not of_output:
        return Half(values.dtype)
    classes = values.shape[-1] if values.shape.rank > 1 else 1
    if compress >= classes:
        raise ValueError(
            f"`compress` must be below the number of classes. Received: {compress} for an output of shape "
            f'{tuple(values.shape)}. Use "float16" instead.'
        )
    return TopLogits(compress, classes, temperature, values.dtype)
