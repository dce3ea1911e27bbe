"""Generation: how a trained generator is updated."""

import keras
import tensorflow as tf
from keras import ops

from generators import Generator
from tfkd.datafree._recipe import Recipe


class Generation:
    """A trained generator with what judges its images.

    Args:
        generator: the generator.
        critic: judges its images.
        recipe: says how many there are in a batch and what their pixels are.
        classes: how many classes the teacher knows, for a generator that is told one.
        seed: the `keras.random.SeedGenerator` that latents come from.
    """

    def __init__(
        self,
        generator: Generator,
        critic,
        recipe: Recipe,
        classes: int,
        seed: keras.random.SeedGenerator,
    ) -> None:
        self.generator, self.critic, self.recipe = generator, critic, recipe
        self.classes, self.seed = classes, seed
        self.conditional = generator.classes is not None

    def draw(self):
        """Latents of a batch, and the classes that a conditional generator is told, else None."""
        n = self.recipe.batch_size
        latent = self.generator.draw_latent(n, self.seed)
        if not self.conditional:
            return latent, None
        return latent, keras.random.randint((n,), 0, self.classes, seed=self.seed)

    def images(self, drawn):
        """The images that the generator now makes of what was drawn, without gradient."""
        return tf.stop_gradient(self.recipe.pixels(self._generate(*drawn)))

    def update(self, drawn, optimizer: keras.optimizers.Optimizer, adversary):
        """One update of the generator.

        Args:
            drawn: what `draw` returned.
            optimizer: of the generator.
            adversary: factor of the objectives that ask the student.

        Returns:
            The images the update was computed on, without gradient.
        """
        with tf.GradientTape() as tape:
            generated = self._generate(*drawn)
        _, slope, of_objectives = self.critic.judge(generated, drawn[1], adversary)
        variables = self.generator.trainable_variables
        gradients = tape.gradient(generated, variables, output_gradients=optimizer.scale_loss(slope))
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        self.critic.learn(of_objectives)
        self.critic.finish()
        return tf.stop_gradient(self.recipe.pixels(generated))

    def _generate(self, latent, labels):
        told = {} if labels is None else {"labels": labels}
        return ops.cast(self.generator(latent, training=True, **told), "float32")
