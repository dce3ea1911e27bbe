"""A replay memory on the device: stored inputs with the teacher's outputs."""

import math
import os

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from tfkd._core.checks import check_choice, check_int

DTYPES = ("float32", "float16", "uint8")
_TOKENS = "int32"


class Memory(keras.Layer):
    """A ring buffer of inputs and the teacher's outputs, stored in variables.

    Drawing from it needs no generator and no teacher pass. Its contents are variables, so they are saved
    and restored with the distiller.

    Args:
        capacity: the number of images to keep before the oldest are overwritten.
        input_shape: the shape of one input, such as `(height, width, channels)`.
        output_shape: the shape of one teacher output, such as `(classes,)`, or the number of classes; None
            if outputs are not stored.
        pixels: the dtype in which pixels are stored: "float32", "float16", or "uint8" for 256 levels of
            [0, 1]; "int32" for token ids, which are returned as such.
        saved: whether the contents are saved with the weights.
        **kwargs: passed to `keras.Layer`.

    Raises:
        ValueError: if the capacity is below 1, the dtype is unknown, or the machine has too little memory.
    """

    def __init__(
        self,
        capacity: int,
        input_shape: tuple[int, ...],
        output_shape: int | tuple[int, ...] | None,
        pixels: str = "float32",
        saved: bool = True,
        **kwargs,
    ) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        check_int("capacity", capacity)
        check_choice("pixels", pixels, (*DTYPES, _TOKENS))
        if isinstance(output_shape, int):
            output_shape = (output_shape,)
        _check_fits(capacity, input_shape, output_shape or (0,), np.dtype(pixels).itemsize)
        self.capacity, self.pixels, self.saved = capacity, pixels, saved
        zeros = {"initializer": "zeros", "trainable": False}
        self.images = self.add_weight(shape=(capacity, *input_shape), dtype=pixels, name="images", **zeros)
        self.logits = None
        if output_shape is not None:
            self.logits = self.add_weight(shape=(capacity, *output_shape), name="logits", **zeros)
        self.written = self.add_weight(shape=(), dtype="int64", name="written", **zeros)
        self.built = True

    @property
    def size(self):
        """The number of images held now, an int64 scalar tensor."""
        return ops.minimum(self.written.value, self.capacity)

    def add(self, images, logits) -> None:
        """Stores a batch; once the memory is full, the oldest images are overwritten.

        Args:
            images: `(batch, ...)`, batch at most the capacity.
            logits: the teacher's outputs `(batch, ...)` for them; ignored if outputs are not stored.
        """
        batch = tf.shape(images, out_type="int64")[0]
        slots = (self.written.value + tf.range(batch)) % self.capacity
        # In place: assigning the whole variable would copy the buffer on every step.
        self.images.value.scatter_update(tf.IndexedSlices(self._packed(images), slots))
        if self.logits is not None:
            self.logits.value.scatter_update(tf.IndexedSlices(logits, slots))
        self.written.assign_add(batch)

    def draw(self, n: int, seed):
        """Draws stored examples uniformly, with replacement.

        Args:
            n: the number of examples.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            `(images, logits)`, where logits are None if they are not stored. Before anything is added, the
            values are zeros.
        """
        share = keras.random.uniform((n,), seed=seed)
        held = ops.maximum(self.size, 1)
        slots = ops.cast(share * ops.cast(held, "float32"), "int64")
        slots = ops.minimum(slots, held - 1)
        logits = None if self.logits is None else tf.gather(self.logits.value, slots)
        return self._unpacked(tf.gather(self.images.value, slots)), logits

    def pick(self, n: int, seed) -> np.ndarray:
        """Picks stored images in random order, and repeats one only after all have been picked.

        Args:
            n: the number of images.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            float32 images, or token ids.
        """
        order = keras.random.shuffle(tf.range(self.size), seed=seed).numpy()
        return self._unpacked(tf.gather(self.images.value, np.resize(order, n))).numpy()

    def _packed(self, images):
        if self.pixels == "uint8":
            images = ops.round(255.0 * ops.clip(images, 0.0, 1.0))
        return ops.cast(images, self.pixels)

    def _unpacked(self, images):
        if self.pixels == _TOKENS:
            return images
        images = ops.cast(images, "float32")
        return images / 255.0 if self.pixels == "uint8" else images

    def save_own_variables(self, store):
        if self.saved:
            super().save_own_variables(store)

    def load_own_variables(self, store):
        if self.saved:
            super().load_own_variables(store)


def _check_fits(capacity, input_shape, output_shape, pixel_bytes):
    """Raises ValueError before an allocation that would kill the process."""
    needed = capacity * (pixel_bytes * math.prod(input_shape) + 4 * math.prod(output_shape))
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= names.keys():
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ValueError(
            f"`memory`: {capacity:,} images of shape {tuple(input_shape)} take {needed / 2**30:,.1f} GiB, "
            f"but this machine has {there / 2**30:,.1f} GiB. Store fewer, or use memory_dtype='uint8'."
        )
