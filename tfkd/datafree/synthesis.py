"""Where a step's inputs come from: a trained generator, procedural priors, selection, refinement."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from generators import Generator
from tfkd import taps
from tfkd.datafree.moments import recorded, stored_statistics
from tfkd.datafree.recipe import Recipe
from tfkd.datafree.refinement import refine
from tfkd.datafree.selection import misfit, resample, selection_log_weights


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
        parts = [self._draw_prior(from_prior)] if from_prior else []
        if from_prior < n:
            parts.append(self._generate(n - from_prior))
        return ops.concatenate(parts)

    def refined(self, images, targets):
        """The images after the recipe's gradient steps towards target classes."""
        return refine(
            images,
            targets,
            self.teacher,
            self.student,
            self.recipe.refine_steps,
            self.recipe.refine_size,
            self.recipe.refine_adversarial,
        )

    def _generate(self, n):
        raw = self.generator.sample(n, self.seed_generator, training=True)
        return tf.stop_gradient(self.recipe.pixels(raw))

    def from_prior(self, n: int):
        """`n` images of the prior, selected and refined as the recipe says, with the teacher's logits."""
        images = self._draw_prior(n * self.recipe.overdraw)
        if self.recipe.overdraw > 1:
            images, logits = self._select(images, n)
        else:
            logits = self.ask_teacher(images)
        refined = round(n * self.recipe.refine_share) if self.recipe.refine_steps else 0
        if not refined:
            return images, logits
        targets = keras.random.randint((refined,), 0, self.classes, seed=self.seed_generator)
        carried = self.refined(images[:refined], targets)
        return (
            ops.concatenate([carried, images[refined:]]),
            ops.concatenate([self.ask_teacher(carried), logits[refined:]]),
        )

    def _select(self, images, n):
        """The candidates that are kept, and the teacher's logits for them."""
        recipe = self.recipe
        stored = stored_statistics(self.teacher) if recipe.typicality else {}
        with taps.record(self.teacher, stored) as record:
            logits = self.ask_teacher(images)
        log_weights = selection_log_weights(
            logits,
            self.student(images, training=False) if recipe.disagreement else None,
            recipe.balance,
            recipe.disagreement,
            misfit(recorded(record, stored)) if stored else None,
            recipe.typicality,
        )
        kept = resample(log_weights, n, self.seed_generator)
        return ops.take(images, kept, axis=0), ops.take(logits, kept, axis=0)

    def _draw_prior(self, n):
        """`n` images from the priors, in parts as equal as can be, shuffled together."""
        cuts = np.linspace(0, n, len(self.priors) + 1).round().astype(int)
        parts = [
            prior.sample(int(size), seed=self.seed_generator)
            for prior, size in zip(self.priors, np.diff(cuts), strict=True)
            if size
        ]
        if len(parts) == 1:
            return parts[0]
        order = resample(ops.zeros((n,)), n, self.seed_generator)
        return ops.take(ops.concatenate(parts), order, axis=0)
