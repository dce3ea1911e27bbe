"""Markov chains through a procedural prior, towards images that a teacher finds typical."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from generators import Generator
from tfkd._core.replica_copies import copies


class Chains(keras.Layer):
    """Latents of a procedural generator that walk, each towards a class of its own.

    A move redraws a random share of a latent. By Metropolis' rule it is kept with probability
    min(1, w(new) / w(old)), so that in the long run latents have the density of the prior times w. Images
    stay what the prior can make, which gradient steps on pixels do not see to, and are found that hardly
    ever come up by chance.

    Args:
        prior: the procedural generator.
        count: how many chains there are.
        classes: of the teacher; chain i is to become one of class i modulo this.
        seed: a `keras.random.SeedGenerator` that the first latents are drawn from.
        **kwargs: passed to `keras.Layer`.

    Reference:
        Metropolis et al., 1953, and Hastings, 1970; moves that leave a Gaussian prior as it is: Neal,
        "Regression and Classification Using Gaussian Process Priors", 1998 (there a little of all numbers
        is redrawn, here some numbers as a whole).
    """

    def __init__(self, prior: Generator, count: int, classes: int, seed, **kwargs) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.prior, self.count, self.classes = prior, count, classes
        self.latents = self.add_weight(
            shape=(count, prior.latent_size), initializer="zeros", trainable=False, name="latents"
        )
        for copy in copies(self.latents):
            copy.assign(prior.draw_latent(count, seed))
        self.drawn = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="drawn"
        )
        self.built = True

    def draw(self, n: int, moves: int, weigh: Callable, seed):
        """Moves those chains that have waited longest.

        Args:
            n: how many, at most `count`.
            moves: moves of each.
            weigh: `weigh(images, wanted)`, of images and the int32 classes `(n,)` that they are to become,
                gives the teacher's logits and the logarithm of w, `(n,)`; what is not a number is w = 0.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            Their images and the teacher's logits.

        Raises:
            ValueError: if there are fewer chains than that.
        """
        if n > self.count:
            raise ValueError(f"`n` must be at most {self.count}, the number of chains. Received: n={n!r}.")
        slots = (self.drawn.value + tf.range(n, dtype="int64")) % self.count
        wanted = ops.cast(slots % self.classes, "int32")

        def judged(latents):
            images = self.prior(latents)
            logits, weight = weigh(images, wanted)
            return latents, images, logits, ops.where(ops.isnan(weight), -np.inf, weight)

        def move(_, now):
            new = judged(_partly_redrawn(now[0], seed))
            threshold = ops.log(keras.random.uniform((n,), 1e-7, 1.0, seed=seed))
            kept = threshold < new[-1] - now[-1]
            return tuple(_where(kept, *pair) for pair in zip(new, now, strict=True))

        latents, images, logits, _ = ops.fori_loop(
            0, moves, move, judged(tf.gather(self.latents.value, slots))
        )
        self.latents.value.scatter_update(tf.IndexedSlices(latents, slots))
        self.drawn.assign_add(n)
        return images, logits


def _partly_redrawn(latents, seed):
    """Latents with a share of their numbers redrawn, each its own share, mostly a small one."""
    share = keras.random.uniform((latents.shape[0], 1), seed=seed) ** 2
    # One number at least, on average.
    share = ops.maximum(share, 1 / latents.shape[1])
    redrawn = keras.random.uniform(latents.shape, seed=seed) < share
    return ops.where(redrawn, keras.random.normal(latents.shape, seed=seed), latents)


def _where(kept, new, old):
    """New values of those that are kept, old ones of the others."""
    return ops.where(ops.reshape(kept, (-1,) + (1,) * (len(new.shape) - 1)), new, old)
