"""Where a step's inputs come from: a trained generator, procedural priors, selection, refinement."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from generators import Generator
from tfkd.datafree._recipe import Recipe
from tfkd.datafree.objectives._moments import observe, stored_statistics
from tfkd.datafree.sources._chains import Chains
from tfkd.datafree.sources._refinement import refine
from tfkd.datafree.sources._selection import misfit, resample, selection_log_weights


class Synthesizer:
    """Makes batches of images with the teacher's answers, as a recipe says.

    Args:
        teacher: a model from images in [0, 1] to logits.
        student: the student, whose disagreement steers selection and refinement.
        recipe: the recipe.
        generator: the trained generator, or None.
        seed_generator: what all randomness comes from.
    """

    def __init__(
        self,
        teacher: keras.Model,
        student: keras.Model,
        recipe: Recipe,
        generator: Generator | None,
        seed_generator: keras.random.SeedGenerator,
    ) -> None:
        self.teacher, self.student, self.recipe = teacher, student, recipe
        self.generator, self.seed_generator = generator, seed_generator
        self.priors = recipe.build_priors(tuple(teacher.input_shape[1:]))
        self.classes = teacher.output_shape[-1]
        self.chains = self._build_chains() if recipe.chains and self.priors else []

    def _build_chains(self):
        counts = _equal_parts(self.recipe.chains, len(self.priors))
        return [
            Chains(prior, count, self.classes, self.seed_generator)
            for prior, count in zip(self.priors, counts, strict=True)
        ]

    def ask_teacher(self, images):
        """The teacher's float32 logits, in inference mode."""
        return ops.cast(self.teacher(images, training=False), "float32")

    def new_inputs(self, generated=None):
        """One batch of new images and the teacher's logits for them.

        Args:
            generated: images to use instead of drawing from the trained generator, or None.

        Returns:
            `(images, logits)`, without gradient.
        """
        n = self.recipe.batch_size
        from_prior = self.recipe.prior_images(n)
        parts = [self.from_prior(from_prior)] if from_prior else []
        if from_prior < n:
            images = self._generate(n - from_prior) if generated is None else generated[from_prior:]
            parts.append((images, self.ask_teacher(images)))
        images, logits = zip(*parts, strict=True)
        return ops.concatenate(images), ops.concatenate(logits)

    def candidates(self, n: int):
        """`n` images as they are drawn, from the priors in their share, else generated."""
        from_prior = self.recipe.prior_images(n)
        parts = []
        if from_prior:
            parts.append(self._walked(from_prior)[0] if self.chains else self._draw_prior(from_prior))
        if from_prior < n:
            parts.append(self._generate(n - from_prior))
        return ops.concatenate(parts)

    def warm_up(self) -> None:
        """Moves the chains as for a batch, without asking the student."""
        if self.chains and (n := self.recipe.drawn_at_once()):
            self._walk(n, disagreement=0.0)

    def refined(self, images, targets):
        """The images after the recipe's gradient steps towards target classes."""
        recipe = self.recipe
        return refine(
            images,
            targets,
            self.teacher,
            self.student,
            steps=recipe.refine_steps,
            step_size=recipe.refine_size,
            adversarial=recipe.refine_adversarial,
            statistics=recipe.refine_statistics,
        )

    def _generate(self, n):
        raw = self.generator.sample(n, self.seed_generator, training=True)
        return tf.stop_gradient(self.recipe.pixels(raw))

    def from_prior(self, n: int):
        """`n` images of the prior, selected and refined as the recipe says, with the teacher's logits."""
        if self.chains:
            images, logits = self._walked(n)
        elif self.recipe.overdraw > 1:
            images, logits = self._select(self._draw_prior(n * self.recipe.overdraw), n)
        else:
            images = self._draw_prior(n)
            logits = self.ask_teacher(images)
        refined = round(n * self.recipe.refine_share) if self.recipe.refine_steps else 0
        if not refined:
            return images, logits
        targets = self.targets(logits[:refined])
        carried = self.refined(images[:refined], targets)
        return (
            ops.concatenate([carried, images[refined:]]),
            ops.concatenate([self.ask_teacher(carried), logits[refined:]]),
        )

    def targets(self, logits):
        """Classes to carry images to: where chains led them, else any."""
        if self.chains:
            return ops.argmax(logits, axis=-1)
        return keras.random.randint((logits.shape[0],), 0, self.classes, seed=self.seed_generator)

    def _select(self, images, n):
        """The candidates that are kept, and the teacher's logits for them."""
        logits, log_weights = self._weighed(images, self.recipe.balance, self.recipe.disagreement)
        kept = resample(log_weights, n, self.seed_generator)
        return ops.take(images, kept, axis=0), ops.take(logits, kept, axis=0)

    def _walked(self, n):
        """Images of `n` chains after their moves, and the teacher's logits for them, shuffled together."""
        images, logits = self._walk(n, self.recipe.disagreement)
        order = resample(ops.zeros((n,)), n, self.seed_generator)
        return ops.take(images, order, axis=0), ops.take(logits, order, axis=0)

    def _walk(self, n, disagreement):
        """The same, one prior's behind the other's, each in the order of its chains."""

        def weigh(images, wanted):
            # Each chain has its class; there is nothing to balance.
            logits, log_weights = self._weighed(images, 0.0, disagreement)
            surprise = keras.losses.sparse_categorical_crossentropy(wanted, logits, from_logits=True)
            return logits, log_weights - self.recipe.sureness * surprise

        parts = [
            chains.draw(size, self.recipe.chain_moves, weigh, self.seed_generator)
            for chains, size in zip(self.chains, _equal_parts(n, len(self.chains)), strict=True)
            if size
        ]
        images, logits = zip(*parts, strict=True)
        return ops.concatenate(images), ops.concatenate(logits)

    def _weighed(self, images, balance, disagreement):
        """The teacher's logits, and how much the recipe would like to have each image, as a logarithm."""
        recipe = self.recipe
        stored = stored_statistics(self.teacher) if recipe.typicality else {}
        logits, seen = observe(self.teacher, images, stored)
        log_weights = selection_log_weights(
            logits,
            self.student(images, training=False) if disagreement else None,
            balance,
            disagreement,
            misfit(seen) if seen else None,
            recipe.typicality,
        )
        return logits, log_weights

    def _draw_prior(self, n):
        """`n` images from the priors, in parts as equal as can be, shuffled together."""
        parts = [
            prior.sample(size, seed=self.seed_generator)
            for prior, size in zip(self.priors, _equal_parts(n, len(self.priors)), strict=True)
            if size
        ]
        if len(parts) == 1:
            return parts[0]
        order = resample(ops.zeros((n,)), n, self.seed_generator)
        return ops.take(ops.concatenate(parts), order, axis=0)


def _equal_parts(n, parts):
    """Sizes of so many parts of `n` things, as equal as can be."""
    return np.diff(np.linspace(0, n, parts + 1).round().astype(int)).tolist()
