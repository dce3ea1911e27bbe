"""RandAugment of single examples, determined by a given seed."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tfkd._core.checks import check_int, check_number


def rand_augment(
    value_range: tuple[float, float] = (0.0, 1.0), num_ops: int = 2, factor: float = 0.5
) -> Callable[[Any, Any], Any]:
    """RandAugment (Keras's layer) as a function of an image and a seed, for `NoisyStudent(augment=)`.

    Each image gets its own operations. Keras's layer draws them once per batch, from a state that a resumed
    run cannot restore; here they are determined by the seed.

    Args:
        value_range: the lowest and highest value of pixels.
        num_ops: number of operations applied to an image.
        factor: strength of the operations, in [0, 1].

    Returns:
        A function of an image `(height, width, 1 or 3)` and an int32 seed `(2,)`, which returns an image of
        the same shape and dtype. Greyscale images are processed as three equal channels.

    Raises:
        ValueError: if a number is out of range; in the function, if images have another shape.

    Example:
        >>> augment = tfkd.schemes.rand_augment(factor=0.2)
        >>> dataset = tf.data.Dataset.from_tensor_slices(x).enumerate()
        >>> images = dataset.map(lambda i, image: augment(image, (1, i)))

    Reference:
        Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space",
        2020. Keras applies operations at magnitudes drawn up to `factor`, not at a fixed one.
    """
    check_int("num_ops", num_ops)
    check_number("factor", factor, least=0, most=1)
    layer = keras.layers.RandAugment(value_range, num_ops, factor, dtype="float32")
    # The layer, and the layers inside it, draw all random numbers from here.
    layer.generator = seeds = _FollowingSeeds()

    def augment(image, seed):
        if image.shape.rank != 3 or image.shape[-1] not in (1, 3):
            raise ValueError(
                "`augment`: RandAugment changes images of shape (height, width, 1 or 3). Received: inputs "
                f"of shape {tuple(image.shape)}. Give a function of an input and a seed, or None."
            )
        seeds.begin(tf.cast(seed, "int32"))
        channels = image.shape[-1]
        coloured = tf.repeat(image, 3, axis=-1) if channels == 1 else image
        changed = layer(coloured, training=True)[..., :channels]
        return tf.cast(tf.ensure_shape(changed, image.shape), image.dtype)

    return augment


class _FollowingSeeds(keras.random.SeedGenerator):
    """A sequence of seeds derived from a given one, without a state."""

    def __init__(self) -> None:
        super().__init__(0)
        self.begin(tf.zeros(2, "int32"))

    def begin(self, seed) -> None:
        """Restarts from a seed, int32 `(2,)`."""
        self._seed, self._drawn = seed, 0

    def next(self, ordered: bool = True):
        """The next seed."""
        self._drawn += 1
        return tf.random.fold_in(self._seed, self._drawn)
