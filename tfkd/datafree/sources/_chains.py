"""Markov chains through a procedural prior, towards images that are typical for a teacher."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from generators import Generator
from tfkd._core.replica_copies import copies


class Chains(keras.Layer):
    """Latents of a procedural generator that move as Markov chains, each towards its own class.

    A move redraws a random part of a latent. By the Metropolis rule it is accepted with probability
    min(1, w(new) / w(old)), so that in the long run latents have the density of the prior times w. Unlike
    gradient steps on pixels, this only gives images that the prior can make, and it finds images that
    rarely occur by chance.

    Args:
        prior: the procedural generator.
        count: the number of chains.
        classes: the number of the teacher's classes; chain i moves towards class i modulo this.
        seed: the `keras.random.SeedGenerator` for the initial latents.
        **kwargs: passed to `keras.Layer`.

    Reference:
        Metropolis et al., 1953, and Hastings, 1970. Neal, "Regression and Classification Using Gaussian
        Process Priors", 1998, for moves that preserve a Gaussian prior (there all numbers change a little,
        here some numbers are redrawn completely).
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
        """Moves the chains that have waited longest.

        Args:
            n: the number of chains, at most `count`.
            moves: the number of moves of each chain.
            weigh: a function `weigh(images, wanted)` of images and their target classes, int32 `(n,)`, that
                returns the teacher's logits and the logarithm of w, `(n,)`; NaN counts as w = 0.
            seed: a `keras.random.SeedGenerator`.

        Returns:
            Their images and the teacher's logits.

        Raises:
            ValueError: if there are fewer than `n` chains.
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
    """Latents with part of their numbers redrawn: a different fraction for each, usually a small one."""
    share = keras.random.uniform((latents.shape[0], 1), seed=seed) ** 2
    # On average at least one number.
    share = ops.maximum(share, 1 / latents.shape[1])
    redrawn = keras.random.uniform(latents.shape, seed=seed) < share
    return ops.where(redrawn, keras.random.normal(latents.shape, seed=seed), latents)


def _where(kept, new, old):
    """New values where accepted, old ones elsewhere."""
    return ops.where(ops.reshape(kept, (-1,) + (1,) * (len(new.shape) - 1)), new, old)
