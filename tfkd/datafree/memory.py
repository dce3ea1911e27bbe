"""A replay memory on the device: remembered images with the teacher's answers."""

import keras
import tensorflow as tf
from keras import ops


class Memory(keras.Layer):
    """Ring buffer of images and teacher logits, kept in variables.

    Drawing from it costs no generator and no teacher forward. Being variables, its contents are
    saved and restored with the distiller.

    Args:
        capacity: how many images are kept before the oldest are overwritten.
        image_shape: `(height, width, channels)`.
        classes: number of the teacher's logits.
        **kwargs: passed to `keras.Layer`.

    Raises:
        ValueError: if the capacity is below 1.
    """

    def __init__(self, capacity: int, image_shape: tuple[int, int, int], classes: int, **kwargs) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        if capacity < 1:
            raise ValueError(f"`capacity` must be at least 1. Received: capacity={capacity!r}.")
        self.capacity = capacity
        zeros = {"initializer": "zeros", "trainable": False}
        self.images = self.add_weight(shape=(capacity, *image_shape), name="images", **zeros)
        self.logits = self.add_weight(shape=(capacity, classes), name="logits", **zeros)
        self.written = self.add_weight(shape=(), dtype="int64", name="written", **zeros)
        self.built = True

    @property
    def size(self):
        """How many images are held now, an int64 scalar tensor."""
        return ops.minimum(self.written.value, self.capacity)

    def add(self, images, logits) -> None:
        """Remembers a batch, overwriting the oldest images once full.

        Args:
            images: `(batch, height, width, channels)`, batch at most the capacity.
            logits: the teacher's `(batch, classes)` for them.
        """
        batch = tf.shape(images, out_type="int64")[0]
        slots = ((self.written.value + tf.range(batch)) % self.capacity)[:, None]
        # In place: assigning the whole variable would copy the buffer on every step.
        self.images.value.scatter_nd_update(slots, images)
        self.logits.value.scatter_nd_update(slots, logits)
        self.written.assign_add(batch)

    def draw(self, n: int, seed):
        """Draws remembered examples uniformly, with replacement.

        Args:
            n: how many.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            `(images, logits)`. Before anything was added the values are zeros.
        """
        share = keras.random.uniform((n,), seed=seed)
        held = ops.maximum(self.size, 1)
        slots = ops.cast(share * ops.cast(held, "float32"), "int64")
        slots = ops.minimum(slots, held - 1)
        return tf.gather(self.images.value, slots), tf.gather(self.logits.value, slots)
